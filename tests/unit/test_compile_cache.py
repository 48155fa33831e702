"""The bound of the compile cache, and the comparison of what an executable needs with what a machine has."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dfc.backends import compile_cache


def test_the_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    cache = compile_cache.CompileCache(tmp_path / "small", max_bytes=1000)
    for index, key in enumerate("abc"):
        cache.put(key, bytes(250))
        os.utime(cache.directory / key, (index, index))
    assert cache.get("a") == bytes(250)  # now newer than b and c
    cache.put("d", bytes(250))
    assert sorted(path.name for path in cache.directory.iterdir()) == [
        "a",
        "c",
        "d",
    ]  # 290 bytes each
    cache.put("e", bytes(2000))
    assert cache.get("e") is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"jaxlib": "9.9"}, "the executable needs jaxlib '9.9', and here it is '0.10.2'"),
        ({"platform": "tpu"}, "the executable needs platform 'tpu', and here it is 'cpu'"),
        (
            {"cpu_features": ["avx2", "avx512f"]},
            "the executable needs the CPU features avx512f, which this machine (avx, avx2) lacks",
        ),
        ({"cpu_features": None}, "the executable's stamp does not list the CPU features that it needs"),
    ],
)
def test_a_stamp_that_does_not_fit_says_why(changed: dict[str, object], why: str) -> None:
    here = {**compile_cache.stamp(), "jaxlib": "0.10.2", "cpu_features": ["avx", "avx2"]}
    assert compile_cache.stamp_mismatch({**here, **changed}, here) == why


def test_cpu_features_are_read_from_blob_and_kernel_alike() -> None:
    line = "flags\t\t: fpu pni ssse3 sse4_1 avx avx2 avx512f avx512_vnni bmi1 abm sha_ni pku"
    assert compile_cache.features_in(line) == tuple(
        sorted(["sse3", "ssse3", "sse4.1", "avx", "avx2", "avx512f", "avx512vnni", "bmi", "lzcnt", "sha"])
    )
    blob = b"\0junk+64bit,+avx,+avx2,+bmi,+pku,+shstk,+sse4.1,-avx512f,-amx-tile,+zz\0tail"
    assert compile_cache.needed_features(blob) == ("avx", "avx2", "bmi", "sse4.1")


def test_a_folder_that_a_group_writes_to_is_used_only_if_the_group_is_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import grp
    import pwd

    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o770)
    user = pwd.getpwuid(os.geteuid())

    def group(name: str, members: list[str]) -> None:
        monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name=user.pw_name, pw_gid=gid))
        monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_name=name, gr_mem=members))

    gid = folder.stat().st_gid
    group(user.pw_name, [])
    cache = compile_cache.CompileCache(folder, max_bytes=1000)
    cache.put("a", b"1")
    assert cache.get("a") == b"1"
    for name, members in (("staff", []), (user.pw_name, ["somebody"])):
        group(name, members)
        assert compile_cache.CompileCache(folder, max_bytes=1000).get("a") is None
