"""Compiling and running StableHLO: values, donation, threads, interrupts, the disk cache, artifacts, a process without
jax."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dfc.backends import compile_cache, xla
from dfc.errors import FailedPrecondition, Internal, InvalidArgument, InvalidType, NotFound, Unimplemented

ROOT = Path(__file__).resolve().parents[2]
F32 = np.dtype(np.float32)
VECTOR: xla.Spec = ((4,), F32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> compile_cache.CompileCache:
    monkeypatch.setenv("DFC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("DFC_CACHE_MAX_BYTES", raising=False)
    found = compile_cache.default_cache()
    assert found is not None
    return found


def parse(text: str) -> Any:
    from jaxlib.mlir import ir

    return ir.Module.parse(text, xla.mlir_context())


def unary(body: str, operand: str, result: str = "") -> Any:
    """A module of one argument `%x` and one result `%y`."""
    result = result or operand
    return parse(f"func.func public @main(%x: {operand}) -> {result} {{\n{body}\nreturn %y : {result} }}")


def add_step(n: int, element: str = "f32") -> str:
    """n state values plus one feed each; the output is the first sum."""
    t = f"tensor<4x{element}>"
    arguments = ", ".join(f"%s{i}: {t}" for i in range(n)) + f", %x: {t}"
    body = "\n".join(f"%r{i} = stablehlo.add %s{i}, %x : {t}" for i in range(n))
    results, types = ", ".join(f"%r{i}" for i in range(n)) + ", %r0", ", ".join([t] * (n + 1))
    return f"func.func public @main({arguments}) -> ({types}) {{\n{body}\nreturn {results} : {types} }}"


def compile_step(n: int = 2, element: str = "f32", dtype: np.dtype[Any] = F32, **options: Any) -> xla.Executable:
    given = {"donated": {i: i for i in range(n)}, "name": "step", **options}
    specs = [((4,), dtype)] * (n + 1)
    return xla.compile_program(parse(add_step(n, element)), input_specs=specs, n_state=n, n_new_state=n, **given)


def jax_setting(name: str) -> object:
    import jax

    return getattr(jax.config, name)


def vectors(*rows: Sequence[float], dtype: Any = F32) -> list[Any]:
    return [xla.to_device(np.array(row, dtype)) for row in rows]


# --- values -----------------------------------------------------------------------------------------------------------

DTYPES = [
    ("f64", np.float64), ("f32", np.float32), ("f16", np.float16), ("bf16", ml_dtypes.bfloat16), ("i64", np.int64),
    ("i32", np.int32), ("i8", np.int8), ("ui64", np.uint64), ("ui8", np.uint8), ("complex<f32>", np.complex64),
    ("complex<f64>", np.complex128),
]  # fmt: skip


@pytest.mark.parametrize(("element", "dtype"), DTYPES)
def test_each_dtype_is_kept_and_added(element: str, dtype: Any) -> None:
    import jax

    assert not jax_setting("jax_enable_x64")
    step = compile_step(1, element, np.dtype(dtype))
    a, x = np.array([1, 2, 3, 100], dtype), np.array([1, 0, 2, 3], dtype)
    if element in ("f64", "i64", "ui64"):
        a[3] = 2**40 + 1  # lost in 32 bits
    (state,), (output,) = step([xla.to_device(a)], [xla.to_device(x)])
    assert isinstance(state, jax.Array)
    assert state.dtype == output.dtype == dtype
    np.testing.assert_array_equal(xla.to_numpy(state), a + x)
    np.testing.assert_array_equal(xla.to_numpy(output), a + x)
    assert not jax_setting("jax_enable_x64")


def test_bool_and_zero_size_and_scalar_results() -> None:
    body = """%c = stablehlo.constant dense<2.0> : tensor<f64>
              %p = stablehlo.compare GT, %x, %c : (tensor<f64>, tensor<f64>) -> tensor<i1>
              %e = stablehlo.constant dense<> : tensor<0x3xi64>"""
    module = parse(
        "func.func public @main(%x: tensor<f64>) -> (tensor<i1>, tensor<0x3xi64>, tensor<f64>) {"
        f"{body}\nreturn %p, %e, %x : tensor<i1>, tensor<0x3xi64>, tensor<f64> }}"
    )
    program = xla.compile_program(module, input_specs=[((), np.dtype(np.float64))])
    _, (larger, empty, same) = program([], [xla.to_device(np.array(2.5))])
    assert xla.to_numpy(larger).dtype == np.bool_ and xla.to_numpy(larger).shape == () and bool(xla.to_numpy(larger))
    assert xla.to_numpy(empty).shape == (0, 3) and xla.to_numpy(empty).dtype == np.int64
    assert xla.to_numpy(same) == 2.5


def test_a_program_without_arguments_and_one_without_results() -> None:
    constant = parse(
        "func.func public @main() -> tensor<2xi64> {\n"
        "%y = stablehlo.constant dense<[1, 2]> : tensor<2xi64>\nreturn %y : tensor<2xi64> }"
    )
    _, (y,) = xla.compile_program(constant, input_specs=[])([], [])
    np.testing.assert_array_equal(xla.to_numpy(y), [1, 2])
    nothing = parse("func.func public @main(%x: tensor<4xf32>) { return }")
    assert xla.compile_program(nothing, input_specs=[VECTOR])([], vectors([0, 0, 0, 0])) == ([], [])


def test_chlo_is_compiled() -> None:
    module = unary("%y = chlo.erf_inv %x : tensor<4xf32> -> tensor<4xf32>", "tensor<4xf32>")
    _, (y,) = xla.compile_program(module, input_specs=[VECTOR])([], vectors([0.0, 0.5, -0.5, 0.9]))
    np.testing.assert_allclose(xla.to_numpy(y), [0.0, 0.476936, -0.476936, 1.163087], rtol=1e-5)


# --- donation and calls -----------------------------------------------------------------------------------------------


def test_donated_state_is_gone_and_its_buffer_is_reused() -> None:
    step = compile_step(2)
    state = vectors([1, 2, 3, 4], [5, 6, 7, 8])
    feed = vectors([1, 1, 1, 1])
    addresses = {array.unsafe_buffer_pointer() for array in state}
    new, _ = step.call(state, feed)
    assert [array.is_deleted() for array in state] == [True, True]
    assert not feed[0].is_deleted()
    assert all(array.block_until_ready() is array for array in new)
    assert {array.unsafe_buffer_pointer() for array in new} == addresses
    np.testing.assert_array_equal(xla.to_numpy(new[1]), [6, 7, 8, 9])


def test_state_that_is_not_donated_stays() -> None:
    step = compile_step(2, donated={1: 1})
    state = vectors([1, 2, 3, 4], [5, 6, 7, 8])
    new, (output,) = step(state, vectors([1, 1, 1, 1]))
    assert [array.is_deleted() for array in state] == [False, True]
    np.testing.assert_array_equal(xla.to_numpy(state[0]), [1, 2, 3, 4])
    np.testing.assert_array_equal(xla.to_numpy(new[0]), xla.to_numpy(output))


def test_a_donated_buffer_cannot_be_used_again() -> None:
    step, state, feed = compile_step(1), vectors([1, 2, 3, 4]), vectors([1, 1, 1, 1])
    step(state, feed)
    with pytest.raises(FailedPrecondition) as caught:
        step.call(state, feed)
    assert str(caught.value) == (
        "step: the buffer was donated to an earlier call, or is given twice to one that donates it, "
        "so its value is gone\n"
        "  keep the arrays that the call returned, not those that it was given"
    )
    assert "INVALID_ARGUMENT" in str(caught.value.__cause__)
    with pytest.raises(FailedPrecondition):
        xla.to_numpy(state[0])
    with pytest.raises(FailedPrecondition):
        xla.copy(state[0])


def test_arguments_are_checked() -> None:
    step = compile_step(1)
    (good,) = vectors([1, 2, 3, 4])
    with pytest.raises(InvalidArgument, match=r"^step: expects 1 state values and 1 feeds, got 2 and 1$"):
        step([good, good], [good])
    with pytest.raises(InvalidArgument, match=r"^step: argument 1 must be float32\[4\], got int32\[4\]$"):
        step([good], vectors([1, 2, 3, 4], dtype=np.int32))
    with pytest.raises(InvalidArgument, match=r"^step: argument 0 must be float32\[4\], got float32\[2,2\]$"):
        step([xla.to_device(np.zeros((2, 2), F32))], [good])
    with pytest.raises(InvalidArgument, match="incompatible size 20"):
        step.call([good], [xla.to_device(np.zeros(5, F32))])
    with pytest.raises(InvalidType, match=r"^step: every argument must be a jax\.Array"):
        step.call([good], [np.zeros(4, F32)])  # type: ignore[list-item]
    assert not good.is_deleted()


def test_wrong_programs_are_refused() -> None:
    with pytest.raises(Internal, match=r"^step: main takes float32\[4\], float32\[4\], not float32\[4\]"):
        xla.compile_program(parse(add_step(1)), input_specs=[VECTOR], name="step")
    with pytest.raises(Internal, match="static shapes only, got tensor<\\?xf32>"):
        xla.specs_of(unary("%y = stablehlo.negate %x : tensor<?xf32>", "tensor<?xf32>"))
    with pytest.raises(Unimplemented, match="XLA can't take tensor<2xindex>"):
        xla.specs_of(parse("func.func public @main(%x: tensor<2xindex>) { return }"))
    with pytest.raises(Internal, match=r"must be like its result, got float32\[4\] and float32\[2\]"):
        xla.Signature((VECTOR,), (((2,), F32),), 1, 1, {0: 0})
    with pytest.raises(Internal, match="state can be donated to new state only"):
        xla.Signature((VECTOR,), (VECTOR,), 0, 1, {0: 0})


def test_calls_from_many_threads() -> None:
    double = xla.compile_program(
        unary("%y = stablehlo.add %x, %x : tensor<4xf32>", "tensor<4xf32>"), input_specs=[VECTOR]
    )
    step, failures = compile_step(2), []

    def work(k: int) -> None:
        try:
            state, feed = vectors([k] * 4, [2 * k] * 4), vectors([1] * 4)
            for _ in range(200):
                state, _ = step.call(state, feed)
                _, (twice,) = double.call([], [state[0]])
            np.testing.assert_array_equal(xla.to_numpy(state[1]), np.full(4, 2 * k + 200, F32))
            np.testing.assert_array_equal(xla.to_numpy(twice), np.full(4, 2 * (k + 200), F32))
            compile_step(1 + k % 3)  # compiling side by side
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_an_interrupt_never_loses_donated_state() -> None:
    step, feed = compile_step(5), vectors([1] * 4)
    state = vectors(*([[k] * 4 for k in range(5)]))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    interrupts, random = 0, np.random.default_rng(0)
    try:
        while interrupts < 300:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1e-3))
                while True:
                    state, _ = step.call(state, feed)
            except KeyboardInterrupt:
                interrupts += 1
            assert not any(array.is_deleted() for array in state)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    values = [xla.to_numpy(array) for array in state]
    np.testing.assert_array_equal(values[4], values[0] + 4)


# --- transfers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        np.float64(2**40 + 0.5), np.arange(6, dtype=np.int64).reshape(2, 3).T, np.zeros((0, 3), np.uint16),
        np.array(True), np.array([1.5, -2], ml_dtypes.bfloat16), np.array([1, 2, -3], ml_dtypes.int4),
        np.array([1 + 2j]), np.array([0.5], ml_dtypes.float8_e4m3fn), np.arange(3, dtype=">i4"), np.arange(10.0)[::3],
    ],
)  # fmt: skip
def test_values_go_to_the_device_and_back(value: Any) -> None:
    array = xla.to_device(value)
    assert array.shape == value.shape and array.dtype == value.dtype.newbyteorder("=")
    for copy in (True, False):
        back = xla.to_numpy(array, copy=copy)
        np.testing.assert_array_equal(back, value)
        assert back.dtype == value.dtype.newbyteorder("=")
        assert back.flags.writeable == copy


def test_to_device_never_aliases_the_users_memory() -> None:
    for size in (4, 1 << 20):
        mine = np.ones(size, F32)
        array = xla.to_device(mine)
        mine[:] = 7
        assert xla.to_numpy(array).max() == 1


def test_strings_and_objects_have_no_device() -> None:
    for value in (np.array(["a"]), np.array([object()]), np.array(["2020-01-01"], "M8[D]")):
        with pytest.raises(InvalidType, match="a device can't hold values of dtype"):
            xla.to_device(value)


def test_a_copied_value_does_not_stop_donation_but_a_view_would() -> None:
    step, feed = compile_step(1), vectors([1] * 4)
    state = vectors([1, 2, 3, 4])
    address, value = state[0].unsafe_buffer_pointer(), xla.to_numpy(state[0])
    new, _ = step(state, feed)
    assert new[0].unsafe_buffer_pointer() == address
    np.testing.assert_array_equal(value, [1, 2, 3, 4])
    view = xla.to_numpy(new[0], copy=False)
    newer, _ = step(new, feed)
    np.testing.assert_array_equal(view, [2, 3, 4, 5])
    assert newer[0].unsafe_buffer_pointer() != address


def test_copy_is_another_buffer() -> None:
    (a,) = vectors([1, 2, 3, 4])
    b = xla.copy(a)
    compile_step(1)([a], vectors([1] * 4))
    np.testing.assert_array_equal(xla.to_numpy(b), [1, 2, 3, 4])
    assert b.is_ready()


def test_devices() -> None:
    assert xla.default_device() in xla.devices()
    assert all(device.platform == "cpu" for device in xla.devices("cpu"))
    with pytest.raises(NotFound, match="no device of platform 'abacus' here"):
        xla.devices("abacus")


# --- the disk cache ---------------------------------------------------------------------------------------------------


def entries(cache: compile_cache.CompileCache) -> list[Path]:
    return sorted(cache.directory.iterdir())


def test_the_second_compilation_is_read_from_disk(cache: compile_cache.CompileCache) -> None:
    first, second = compile_step(2), compile_step(2)
    assert (first.from_cache, second.from_cache) == (False, True)
    assert (cache.hits, cache.misses, len(entries(cache))) == (1, 1, 1)
    state = vectors([1, 2, 3, 4], [5, 6, 7, 8])
    new, (output,) = second(state, vectors([1] * 4))
    assert state[0].is_deleted() and state[1].is_deleted()
    np.testing.assert_array_equal(xla.to_numpy(output), [2, 3, 4, 5])
    np.testing.assert_array_equal(xla.to_numpy(new[1]), [6, 7, 8, 9])


def test_locations_are_not_in_the_key_but_the_program_and_donation_are(cache: compile_cache.CompileCache) -> None:
    text = (
        "func.func public @main(%x: tensor<4xf32>) -> tensor<4xf32> {{ %y = stablehlo.{} %x : tensor<4xf32> loc({})\n"
    )
    text += "return %y : tensor<4xf32> }}"
    for op, place in (("tanh", '"a.py":1:1'), ("tanh", '"b.py":9:9'), ("sine", '"a.py":1:1')):
        xla.compile_program(parse(text.format(op, place)), input_specs=[VECTOR])
    assert (cache.hits, cache.misses) == (1, 2)
    compile_step(1)
    assert not compile_step(1, donated={}).from_cache


def test_flags_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_step(1)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    assert not compile_step(1).from_cache


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign", "whole but no executable"])
def test_a_damaged_entry_is_compiled_and_written_anew(cache: compile_cache.CompileCache, damage: str) -> None:
    compile_step(1)
    (path,) = entries(cache)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    nonsense = b"not an executable"
    path.write_bytes(
        {
            "empty": b"",
            "truncated": content[:-9],
            "flipped": bytes(flipped),
            "foreign": nonsense * 9,
            "whole but no executable": compile_cache.MAGIC + compile_cache.digest(nonsense) + nonsense,
        }[damage]
    )
    again = compile_step(1)
    assert not again.from_cache
    assert (cache.hits, cache.misses) == (0, 2)
    assert compile_step(1).from_cache
    (new,), _ = again(vectors([1, 2, 3, 4]), vectors([1] * 4))
    np.testing.assert_array_equal(xla.to_numpy(new), [2, 3, 4, 5])


def test_an_empty_directory_name_turns_the_cache_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_CACHE_DIR", "")
    assert compile_cache.default_cache() is None
    assert not compile_step(1).from_cache
    assert not compile_step(1).from_cache


def test_a_directory_that_others_can_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("DFC_CACHE_DIR", str(shared))
    with caplog.at_level(logging.WARNING, "dfc"):
        compile_step(1)
        compile_step(1)
    assert len(caplog.records) == 1 and "can be written by other users" in caplog.text
    assert not list(shared.iterdir())


def test_a_cache_that_cannot_be_written_does_not_stop_compiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DFC_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert not compile_step(1).from_cache


def test_jax_keeps_its_own_cache_settings() -> None:
    names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache")
    before = [jax_setting(name) for name in names]
    compile_step(1)
    assert [jax_setting(name) for name in names] == before


# --- artifacts and stamps ---------------------------------------------------------------------------------------------


def test_an_executable_survives_as_bytes() -> None:
    compiled, cached = compile_step(1), compile_step(1)
    assert cached.from_cache
    for source in (compiled, cached, xla.load_program(xla.serialize_executable(cached), cached.signature)):
        loaded = xla.load_program(xla.serialize_executable(source), source.signature, name="again")
        state = vectors([1, 2, 3, 4])
        (new,), _ = loaded(state, vectors([1] * 4))
        assert state[0].is_deleted()
        np.testing.assert_array_equal(xla.to_numpy(new), [2, 3, 4, 5])
    with pytest.raises(InvalidArgument, match=r"^again: XLA: INVALID_ARGUMENT"):
        xla.load_program(b"junk", compiled.signature, name="again")


def test_the_portable_form_round_trips_and_leaves_the_module_alone() -> None:
    module = unary("%y = chlo.erf_inv %x : tensor<4xf32> -> tensor<4xf32>", "tensor<4xf32>")
    before = str(module)
    artifact = xla.portable_artifact(module)
    assert str(module) == before
    assert artifact.startswith(b"ML\xefR")  # MLIR bytecode
    program = xla.compile_program(xla.module_from_portable(artifact), input_specs=[VECTOR])
    _, (y,) = program([], vectors([0.5] * 4))
    np.testing.assert_allclose(xla.to_numpy(y), [0.476936] * 4, rtol=1e-5)
    for damaged in (artifact[:50], b"junk"):
        with pytest.raises(InvalidArgument, match="not a StableHLO portable artifact"):
            xla.module_from_portable(damaged)


def test_a_stamp_fits_the_machine_it_was_made_on() -> None:
    blob = xla.serialize_executable(compile_step(1))
    stored = json.loads(json.dumps(xla.stamp(blob)))
    assert stored["cpu_features"], "a compiled kernel lists the features it may use"
    assert xla.stamp_mismatch(stored, xla.stamp()) is None


# --- other processes --------------------------------------------------------------------------------------------------


def run(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LEAN = """
import sys
import numpy as np, ml_dtypes
from dfc.backends import lean, xla
from dfc.errors import FailedPrecondition, InvalidArgument
assert "jax" not in sys.modules and "jaxlib" not in sys.modules
client = lean.lean_client(2)
folder, f32 = sys.argv[1], np.dtype(np.float32)
signature = xla.Signature((((4,), f32),) * 2, (((4,), f32),) * 2, 1, 1, {0: 0})
blob = open(folder + "/step.exe", "rb").read()
step = client.load_serialized(blob, signature, name="step")
state = np.arange(4, dtype=f32)
sums = step([state, np.ones(4, f32)])
np.testing.assert_array_equal(sums[0], [1, 2, 3, 4])
np.testing.assert_array_equal(state, [0, 1, 2, 3])  # donated by the program, but this is the caller's memory
held, one = step.put(state), step.put(np.ones(4, f32))
for k in range(1, 6):
    held, output = step.execute([held, one])
    np.testing.assert_array_equal(step.to_numpy(output), state + k)
try:
    used = step.put(state); step.execute([used, one]); step.execute([used, one]); raise SystemExit("reused")
except FailedPrecondition: pass
try:
    step([np.arange(4), np.ones(4, f32)]); raise SystemExit("int64 taken")
except InvalidArgument as error: assert str(error) == "step: argument 0 must be float32[4], got int64[4]", error
step1 = client.load_serialized(blob, signature, device=client.devices[1])
np.testing.assert_array_equal(step1([state, np.ones(4, f32)])[1], [1, 2, 3, 4])
assert xla.stamp_mismatch(xla.stamp(blob), xla.stamp()) is None
for value in [np.array(True), np.array([1.5, 2], ml_dtypes.bfloat16), np.float64([2**40 + .5]), np.int64([2**40]),
              np.zeros((0, 3), f32), np.ones((2, 2), np.complex128), np.array([1, -2], ml_dtypes.int4), np.float16(3)]:
    value = np.asarray(value)
    key = value.dtype.name + "x".join(map(str, value.shape))
    program = client.compile_portable(open(f"{folder}/{key}.vhlo", "rb").read(),
                                      xla.Signature(((value.shape, value.dtype),), ((value.shape, value.dtype),)))
    (result,) = program([value])
    assert result.dtype == value.dtype and result.shape == value.shape and (result == value).all(), (key, result)
    (result,) = program([program.put(value, alias=True)])
    assert (result == value).all()
assert sys.modules["jax"] is None
print("lean ok")
"""


def test_a_process_without_jax(tmp_path: Path) -> None:
    (tmp_path / "step.exe").write_bytes(xla.serialize_executable(compile_step(1)))
    for key, type_ in {
        "bool": "i1", "bfloat162": "2xbf16", "float641": "1xf64", "int641": "1xi64", "float320x3": "0x3xf32",
        "complex1282x2": "2x2xcomplex<f64>", "int42": "2xi4", "float16": "f16",
    }.items():  # fmt: skip
        tensor = f"tensor<{type_}>"
        module = parse(f"func.func public @main(%x: {tensor}) -> {tensor} {{ return %x : {tensor} }}")
        (tmp_path / f"{key}.vhlo").write_bytes(xla.portable_artifact(module))
    assert run(LEAN, str(tmp_path)) == "lean ok\n"


def test_a_lean_client_is_refused_beside_jax() -> None:
    from dfc.backends import lean

    with pytest.raises(FailedPrecondition, match="a lean client needs a process that has not imported jax"):
        lean.lean_client()


DEVICES = """
import sys
import numpy as np
from dfc.backends import xla
from dfc.errors import FailedPrecondition
if len(sys.argv) > 1:
    import jax; jax.devices()
    try: xla.devices()
    except FailedPrecondition as error: print(error.diagnostic.message)
    raise SystemExit
assert len(xla.devices("cpu")) == 3
f32 = np.dtype(np.float32)
text = "func.func public @main(%x: tensor<4xf32>) -> tensor<4xf32> { %y = stablehlo.add %x, %x : tensor<4xf32>\\n"
text += "return %y : tensor<4xf32> }"
from jaxlib.mlir import ir
seen = []
for device in xla.devices():
    module = ir.Module.parse(text, xla.mlir_context())
    program = xla.compile_program(module, input_specs=[((4,), f32)], device=device)
    x = xla.transfer(xla.to_device(np.arange(4, dtype=f32), xla.devices()[0]), device)
    _, (y,) = program([], [x])
    np.testing.assert_array_equal(xla.to_numpy(y), [0, 2, 4, 6])
    seen.append((program.from_cache, y.devices() == {device}))
    other = xla.to_device(np.arange(4, dtype=f32), xla.devices()[device.id - 1])
    try: program.call([], [other])
    except ValueError as error: assert "is on device" in str(error)
    else: raise SystemExit("took an array of another device")
print(seen)
"""


def test_several_cpu_devices() -> None:
    assert run(DEVICES, DFC_CPU_DEVICES="3") == "[(False, True), (True, True), (True, True)]\n"
    late = run(DEVICES, "late", DFC_CPU_DEVICES="3")
    assert late == "DFC_CPU_DEVICES asks for 3 CPU devices, and JAX already runs with 1\n"


def test_importing_this_module_imports_neither_jax_nor_jaxlib() -> None:
    code = "import sys; from dfc.backends import lean, xla; print([m for m in ('jax', 'jaxlib') if m in sys.modules])"
    assert run(code) == "[]\n"


def test_a_missing_kernel_library_is_named() -> None:
    with pytest.raises(NotFound, match=r"^kernel conv: /nowhere/libconv.so"):
        xla.register_kernel("conv", "/nowhere/libconv.so", "Conv")


def test_strings_on_a_device_are_refused_with_the_reason() -> None:
    with pytest.raises(InvalidType) as caught:
        xla.to_device(np.array(["a"]))
    assert str(caught.value) == (
        "a device can't hold values of dtype <U1\n  strings stay on the host; dfc.asarray makes a tensor of them"
    )


@pytest.mark.parametrize("read", [xla.to_numpy, xla.to_int, xla.truth])
def test_reading_a_deleted_array_is_an_error(read: Any) -> None:
    array = xla.to_device(np.zeros((), np.int32))
    array.delete()
    with pytest.raises(FailedPrecondition):
        read(array)
