"""A grid whose processes joblib chooses, as Ray's and Dask's backends for it do: the same bytes as in one process."""

import pytest

from coop_edu.grid.run import make_grid, run_grid

joblib = pytest.importorskip("joblib")


@pytest.mark.slow
def test_joblibs_configuration_decides(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cells = make_grid("mini", datasets=["IconAnimals"], shots=[1, 2], seeds=[1], methods=["zero_shot", "M4_end"])
    run_grid(cells, tmp_path / "one.jsonl", epochs=1, progress=False)
    used = []
    real = joblib.Parallel.__call__
    monkeypatch.setattr(
        joblib.Parallel,
        "__call__",
        lambda self, *jobs: used.append((type(self._backend).__name__, self.n_jobs)) or real(self, *jobs),
    )
    with joblib.parallel_config(backend="loky", n_jobs=2):
        run_grid(cells, tmp_path / "cluster.jsonl", epochs=1, jobs=None, progress=False)
    assert set(used) == {("LokyBackend", 2)}
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "cluster.jsonl").read_bytes()
