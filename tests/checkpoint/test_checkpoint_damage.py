"""Any change of a checkpoint is found before something of it is used."""

import errno
import random
import shutil

import pytest

from gpt_pipeline.checkpoint import manifest, open_checkpoint
from gpt_pipeline.checkpoint.checkpoint import FILES
from gpt_pipeline.durable import sealed, unsealed
from gpt_pipeline.errors import CheckpointError

ALL = (*FILES, "manifest.json")


@pytest.fixture
def checkpoint(store, model, part):
    return store.save(model.state_dict(), part(1, 1.5)).path


@pytest.mark.parametrize("name", ALL)
def test_every_flipped_bit_of_a_small_file_is_found(checkpoint, name):
    """All bits of manifest and config; of larger files every so many."""
    path = checkpoint / name
    whole = path.read_bytes()
    stride = max(1, len(whole) * 8 // 1500)
    for bit in range(0, len(whole) * 8, stride):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(CheckpointError):
            open_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ALL)
def test_every_cut_and_growth_is_found(checkpoint, name):
    path = checkpoint / name
    whole = path.read_bytes()
    for size in {0, 1, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            open_checkpoint(checkpoint)
    for more in (b"\0", b"\n", b" ", whole):
        path.write_bytes(whole + more)
        with pytest.raises(CheckpointError):
            open_checkpoint(checkpoint)


@pytest.mark.parametrize("one", ALL)
def test_swapped_files_are_found(checkpoint, one):
    for other in ALL:
        if other == one:
            continue
        left, right = (checkpoint / one).read_bytes(), (checkpoint / other).read_bytes()
        (checkpoint / one).write_bytes(right)
        (checkpoint / other).write_bytes(left)
        with pytest.raises(CheckpointError):
            open_checkpoint(checkpoint)
        (checkpoint / one).write_bytes(left)
        (checkpoint / other).write_bytes(right)
    open_checkpoint(checkpoint)


def test_a_file_from_another_checkpoint_of_the_run_is_found(checkpoint, store, model, part):
    model.final_norm.bias.data[0] = 0.5
    later = store.save(model.state_dict(), part(2)).path
    for name in ("model.safetensors", "training/state.json", "manifest.json"):
        kept = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes((later / name).read_bytes())
        with pytest.raises(CheckpointError):
            open_checkpoint(checkpoint)
        (checkpoint / name).write_bytes(kept)


def test_a_checkpoint_under_another_steps_name_is_found(checkpoint):
    renamed = checkpoint.with_name("run-step-00000009")
    shutil.move(checkpoint, renamed)
    with pytest.raises(CheckpointError, match="holds step 1 of 'run' as its manifest says"):
        open_checkpoint(renamed)


def test_random_damage_is_found(checkpoint):
    """Bytes changed, cut, moved and mixed up: 200 times, in any file."""
    rng = random.Random(4)
    kept = {name: (checkpoint / name).read_bytes() for name in ALL}
    for _ in range(200):
        name = rng.choice(ALL)
        data = bytearray(kept[name])
        start = rng.randrange(len(data))
        stop = min(len(data), start + rng.choice((1, 2, 16, 500)))
        kind = rng.choice(("random", "zero", "cut", "double", "reverse"))
        if kind == "random":
            data[start:stop] = rng.randbytes(stop - start)
        elif kind == "zero":
            data[start:stop] = bytes(stop - start)
        elif kind == "cut":
            del data[start:stop]
        elif kind == "double":
            data[stop:stop] = data[start:stop]
        else:
            data[start:stop] = data[start:stop][::-1]
        if bytes(data) == kept[name]:
            continue
        (checkpoint / name).write_bytes(data)
        with pytest.raises(CheckpointError):
            open_checkpoint(checkpoint)
        (checkpoint / name).write_bytes(kept[name])
    open_checkpoint(checkpoint)


def test_a_killed_replacement_is_mended(store, model, part):
    """Killed between the two renames that put a checkpoint in another's place."""
    path = store.save(model.state_dict(), part(3, 2.0)).path
    path.rename(path.with_name(".replaced-" + path.name))
    shutil.copytree(
        path.with_name(".replaced-" + path.name), path.with_name(f".unfinished-{path.name}-77")
    )
    assert store.newest_good().manifest.step == 3
    assert [p.name for p in store.root.iterdir()] == ["run-step-00000003"]


def test_a_replacement_killed_after_its_end_is_tidied(store, model, part):
    path = store.save(model.state_dict(), part(3, 2.0)).path
    shutil.copytree(path, path.with_name(".replaced-" + path.name))
    store.save(model.state_dict(), part(3, 1.0))
    shutil.copytree(path, path.with_name(".replaced-" + path.name))
    assert store.newest_good().manifest.val_loss == 1.0
    assert [p.name for p in store.root.iterdir()] == ["run-step-00000003"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.ESTALE])
def test_a_checkpoint_that_cannot_be_read_for_now_is_not_set_aside(
    store, model, part, monkeypatch, number
):
    store.save(model.state_dict(), part(1))

    def unreadable(path):
        raise OSError(number, "not now")

    monkeypatch.setattr("gpt_pipeline.checkpoint.manifest.sha256_of", unreadable)
    with pytest.raises(CheckpointError, match="cannot be read: not now"):
        store.newest_good()
    assert [path.name for path in store.root.iterdir()] == ["run-step-00000001"]


def test_a_disk_that_fails_under_a_checkpoint_is_damage(store, model, part, monkeypatch, caplog):
    for step in (1, 2):
        store.save(model.state_dict(), part(step))
    sha256_of = manifest.sha256_of

    def failing(path):
        if "00000002" in str(path):
            raise OSError(errno.EIO, "Input/output error")
        return sha256_of(path)

    monkeypatch.setattr(manifest, "sha256_of", failing)
    assert store.newest_good().manifest.step == 1
    assert "Input/output error; set aside" in caplog.text


def test_a_newer_version_stops_a_resume_and_moves_nothing(store, model, part):
    path = store.save(model.state_dict(), part(1)).path / "manifest.json"
    path.write_bytes(sealed(unsealed(path.read_bytes()) | {"format_version": 5}))
    with pytest.raises(CheckpointError, match="use the version of gpt-pipeline that wrote it"):
        store.newest_good()
    assert [path.name for path in store.root.iterdir()] == ["run-step-00000001"]


@pytest.mark.parametrize("name", [".DS_Store", "._model.safetensors", ".nfs0000001"])
def test_what_the_system_leaves_in_any_folder_is_no_damage(checkpoint, name):
    (checkpoint / name).write_text("x")
    open_checkpoint(checkpoint)


def test_a_folder_that_cannot_be_written_is_said_when_a_checkpoint_must_be_moved(
    store, model, part, monkeypatch
):
    path = store.save(model.state_dict(), part(1)).path
    (path / "config.yaml").write_text("x")

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(type(path), "rename", read_only)
    with pytest.raises(CheckpointError, match=r"cannot move .* aside: Read-only file system"):
        store.newest_good()
