"""The one store of arrays: it comes back bit for bit, or not at all with one line."""

from pathlib import Path

import numpy as np
import pytest

from gamepruning.files import npz
from gamepruning.types import InputError

ARRAYS = {"x": np.linspace(0, 1, 1000), "count": np.array(3), "none": np.zeros((0, 2))}


def test_arrays_and_settings_come_back_bit_for_bit(tmp_path):
    path = tmp_path / "deep" / "a.npz"
    npz.save(path, {"method": "toggle", "cut": None}, ARRAYS)
    settings, arrays = npz.load(path)
    assert settings == {"method": "toggle", "cut": None}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()
    assert [file.name for file in path.parent.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("is_compressed", [False, True])
def test_arrays_alone_are_for_numpy_too(is_compressed, tmp_path):
    path = tmp_path / "a.npz"
    npz.save_arrays(path, ARRAYS, is_compressed=is_compressed)
    assert (npz.load_arrays(path)["x"] == ARRAYS["x"]).all()
    with np.load(path) as archive:
        assert sorted(archive.files) == sorted(ARRAYS)
    with pytest.raises(InputError, match=r"a\.npz is not a checkpoint of gamepruning"):
        npz.load(path)


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "flipped": flip,
    "empty": lambda data: b"",
    "text": lambda data: b"hello",
}


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_clear_line(damage, is_compressed, tmp_path):
    path = tmp_path / "a.npz"
    npz.save_arrays(path, ARRAYS, is_compressed=is_compressed)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    for load in (npz.load, npz.load_arrays):
        with pytest.raises(InputError, match=r"a\.npz is damaged") as caught:
            load(path)
        assert "\n" not in str(caught.value)


def test_a_file_of_pickled_objects_is_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], object))
    with pytest.raises(InputError, match="is damaged or no .npz file"):
        npz.load(tmp_path / "a.npz")


def test_a_missing_file_is_said():
    with pytest.raises(InputError, match=r"none\.npz does not exist"):
        npz.load(Path("none.npz"))


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    npz.save(path, {"epoch": 1}, ARRAYS)

    def broken(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(KeyboardInterrupt):
        npz.save(path, {"epoch": 2}, ARRAYS)
    assert npz.load(path).settings == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_the_first_setting_that_differs_is_named():
    path, found = Path("a.npz"), {"key": [0, 1], "cut": None}
    npz.check_settings(path, found, {"key": (0, 1), "cut": None})
    with pytest.raises(InputError, match=r"another run: cut is None there and 3 here"):
        npz.check_settings(path, found, {"key": [0, 1], "cut": 3})
    with pytest.raises(InputError, match="bias is None there"):
        npz.check_settings(path, found, {"bias": 0.5})


def test_any_name_is_a_name_and_nan_is_itself(tmp_path):
    arrays = {name: np.ones(2) for name in ("file", "file#", "allow_pickle", "a/file")}
    npz.save(tmp_path / "a.npz", {"rate": float("nan")}, arrays)
    found = npz.load(tmp_path / "a.npz")
    assert found.arrays.keys() == arrays.keys()
    npz.check_settings(tmp_path / "a.npz", found.settings, {"rate": float("nan")})


def test_an_array_alone_is_no_checkpoint(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    with pytest.raises(InputError, match="damaged or no .npz file"):
        npz.load(tmp_path / "a.npy")
