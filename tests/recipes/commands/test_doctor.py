"""``intaglio doctor``: reports what is there, what is missing, and whether the core works."""

import json
from importlib.metadata import PackageNotFoundError, version

import pytest

from intaglio.data.sets import tools
from intaglio.recipes.commands import doctor


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Try imports that take no time; the real ones cost seconds."""
    monkeypatch.setattr(doctor, "IMPORTS", {"json": (True, "x"), "email": (False, "x")})


def checks_of(out):
    return {(check["group"], check["name"]): check for check in json.loads(out)["checks"]}


def test_a_sound_environment_is_good(intaglio, monkeypatch, tmp_path):
    monkeypatch.setenv("INTAGLIO_DATA", str(tmp_path / "not" / "yet"))
    status, out, err = intaglio("doctor", "--json")
    assert (status, err) == (0, "")
    checks = checks_of(out)
    assert json.loads(out)["core_works"] is True
    assert checks["packages", "torch"]["detail"] == version("torch")
    assert checks["imports", "json"]["good"]
    assert checks["devices", "cpu"]["good"]
    assert checks["folders", "data"]["good"]
    assert not (tmp_path / "not").exists()
    assert {name for group, name in checks if group == "programs"} == {"c2enc", "opusenc", "ffmpeg"}


def test_the_table_ends_with_the_result(intaglio):
    status, out, _ = intaglio("doctor")
    assert status == 0 and out.splitlines()[-1].startswith("result: the core works; optional")


def test_details_are_aligned_behind_the_longest_name(intaglio):
    lines = [line for line in intaglio("doctor").out.splitlines() if line.startswith("  ")]
    column = lines[0].index("3.")  # python's version
    assert {line[column - 2 : column].strip() for line in lines} == {""}
    assert all(line[column] != " " for line in lines)


def test_a_fetched_codec2_is_found(intaglio, monkeypatch, tmp_path):
    programs = tools.Programs(tmp_path / "c2enc", tmp_path / "c2dec", tmp_path)
    monkeypatch.setattr(tools, "codec2_programs", lambda: programs)
    check = checks_of(intaglio("doctor", "--json").out)["programs", "c2enc"]
    assert check["good"] and check["detail"] == str(tmp_path / "c2enc")
    monkeypatch.setattr(tools, "codec2_programs", lambda: None)
    check = checks_of(intaglio("doctor", "--json").out)["programs", "c2enc"]
    assert not check["good"] and "intaglio demo" in check["detail"]


def without(monkeypatch, missing):
    def found(name):
        if name == missing:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", found)


def test_a_missing_extra_names_the_command_and_is_no_failure(intaglio, monkeypatch):
    without(monkeypatch, "pystoi")
    status, out, _ = intaglio("doctor", "--json")
    check = checks_of(out)["extra: metrics", "pystoi"]
    assert status == 0 and not check["good"] and not check["needed"]
    assert "pip install 'intaglio[metrics]'" in check["detail"]


def test_a_missing_core_package_is_a_failure(intaglio, monkeypatch):
    without(monkeypatch, "soundfile")
    status, out, _ = intaglio("doctor")
    assert status == 1 and "FAILS soundfile" in out
    assert out.splitlines()[-1].startswith("result: the core does not work")


def test_a_wrong_version_is_reported(intaglio, monkeypatch):
    monkeypatch.setattr(
        doctor, "version", lambda name: "2.99" if name == "torch" else version(name)
    )
    status, out, _ = intaglio("doctor", "--json")
    check = checks_of(out)["packages", "torch"]
    assert (
        status == 1 and check["detail"].startswith("2.99, but ") and "is needed" in check["detail"]
    )


@pytest.mark.parametrize(("needed", "status"), [(True, 1), (False, 0)])
def test_an_import_that_fails_or_crashes_is_reported(
    intaglio, monkeypatch, tmp_path, needed, status
):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "crashes.py").write_text("import os; os.abort()")
    monkeypatch.setattr(
        doctor, "IMPORTS", {"crashes": (needed, "do a"), "no_such_module": (needed, "do b")}
    )
    found, out, _ = intaglio("doctor", "--json")
    checks = checks_of(out)
    assert found == status
    assert checks["imports", "crashes"]["detail"].endswith("do a")
    assert checks["imports", "no_such_module"]["detail"].endswith(
        "No module named 'no_such_module'; do b"
    )


def test_a_folder_that_cannot_be_written_is_reported(intaglio, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INTAGLIO_DATA", str(tmp_path / "file"))
    _, out, _ = intaglio("doctor", "--json")
    check = checks_of(out)["folders", "data"]
    assert not check["good"] and "INTAGLIO_DATA" in check["detail"]
