"""Row I1, the values of sessions: saved and restored by name, all of one moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dfc
from dfc.errors import FailedPrecondition, InvalidArgument, NotFound


def test_i1_a_session_saves_its_values_and_another_takes_them(tmp_path: Path) -> None:
    outside = dfc.Variable([1.0], name="outside")
    with dfc.Graph() as graph:
        w = dfc.Variable(np.zeros((2, 2), np.float32), name="w")
        slot = dfc.Variable(5, name="w/slot", trainable=False)
        change = dfc.group(w.assign_add(np.ones((2, 2), np.float32) * outside), slot.assign_add(1))
        init = dfc.initialize_all()
    saver = dfc.train.Saver()
    with dfc.Session(graph) as session:
        with pytest.raises(FailedPrecondition, match="Attempting to use uninitialized value"):
            saver.save(tmp_path, 0, session)
        session.run(init)
        session.run(change)
        path = saver.save(tmp_path, 1, session)
        session.run(change)
        saver.restore(path, session)
        assert session.run(w)[0, 0] == 1
    assert dfc.train.latest_checkpoint(tmp_path) == path
    with dfc.Session(graph) as session:
        saver.restore(path, session)
        np.testing.assert_array_equal(session.run(w), np.ones((2, 2)))
        assert session.run(slot) == 6
        assert session.run(w.is_initialized())
    with dfc.Session(graph) as session:
        dfc.train.Saver({"w/slot": slot}).restore(path, session)
        assert session.run(slot) == 6
        assert not session.run(w.is_initialized())


def test_i1_what_does_not_fit(tmp_path: Path) -> None:
    with dfc.Graph() as graph:
        v = dfc.Variable([1.0, 2.0], name="v")
        init = dfc.initialize_all()
    with dfc.Graph():
        other = dfc.Variable([1.0], name="v")
    with dfc.Session(graph) as session:
        session.run(init)
        path = dfc.train.Saver([v]).save(tmp_path, 3, session)
        with pytest.raises(NotFound, match=r"variable 'v' is not in the graph"):
            session.state_of(other)
        with pytest.raises(InvalidArgument, match=r"variable 'v' holds float32\[1\], got float32\[2\]"):
            dfc.train.Saver([other]).restore(path, session)
    with pytest.raises(FailedPrecondition, match=r"variable 'v' belongs to a graph"):
        dfc.train.Saver([v]).save(tmp_path, 4)


def test_i1_state_that_a_graph_gets_later_begins_anew_and_that_is_told(tmp_path: Path) -> None:
    one = np.ones(2, np.float32)

    def model() -> tuple[dfc.Graph, dfc.Variable, dfc.train.Momentum]:
        with dfc.Graph() as graph:
            return graph, dfc.Variable(one, name="w"), dfc.train.Momentum(0.5)

    graph, w, optimizer = model()
    with graph, dfc.Session(graph) as session:
        step, init = optimizer.apply_gradients([(one, w)]), dfc.initialize_all()
        session.run(init)
        session.run(step)
        path = dfc.train.Saver().save(tmp_path, 1, session)
    graph, w, optimizer = model()
    with graph, dfc.Session(graph) as session:
        dfc.train.Saver().restore(path, session)
        with pytest.warns(RuntimeWarning, match=r"^the state 'w/momentum' begins anew, though the checkpoint "):
            optimizer.apply_gradients([(one, w)])
        np.testing.assert_array_equal(session.run(w), [0.5, 0.5])
    graph, w, optimizer = model()
    with graph, dfc.Session(graph) as session:
        step = optimizer.apply_gradients([(one, w)])
        dfc.train.Saver().restore(path, session)
        session.run(step)
        np.testing.assert_allclose(session.run(w), 0.5 - 0.5 * 1.9 * one)
