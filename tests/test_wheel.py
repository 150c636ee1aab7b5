"""Opening wheels: names, copies, containers and modules."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from builders import Raw, build_wheel, write_zip

from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.wheels.binary import format_of
from pytest_wheelcheck.wheels.modules import contains, init_function, module_name, pyo3_version
from pytest_wheelcheck.wheels.reader import open_wheel


def opened(path: Path, tmp_path: Path) -> Wheel:
    return open_wheel(path, shown=f"dist/{path.name}", store=tmp_path / "store")


def test_everything_of_a_sound_wheel(tmp_path: Path) -> None:
    path = build_wheel(
        tmp_path / "dist",
        "Demo-X",
        "1.0.post1",
        {
            "demo/__init__.py": "",
            "demo/_native.abi3.so": b"\x7fELF",
            "Demo_X-1.0.post1.data/platlib/demo/_other.cpython-311-x86_64-linux-gnu.so": b"\x7fELF",
            "Demo_X-1.0.post1.data/purelib/single.py": "",
            "Demo_X-1.0.post1.data/scripts/tool": b"\x7fELF\2\1",
            "Demo_X-1.0.post1.data/scripts/text": "#!python\n",
            "Demo_X-1.0.post1.data/data/share/demo.txt": "",
            "Demo_X.libs/libz-1.so": b"\x7fELF",
        },
        tags=("cp311-abi3-manylinux_2_17_x86_64", "cp311-abi3-manylinux2014_x86_64"),
        build="2abc",
        requires=("attrs>=1", "rich; extra == 'pretty'"),
        requires_python=">=3.11",
        extras=("pretty",),
        entry_points={"console_scripts": {"Demo": "demo:main", "other": "demo.cli:run [pretty]"}, "x.y": {"a": "b"}},
    )
    wheel = opened(path, tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert wheel.path == tmp_path / "store" / digest[:16] / path.name
    assert wheel.path.read_bytes() == path.read_bytes()
    assert (wheel.source, wheel.sha256, wheel.size) == (path, digest, path.stat().st_size)
    assert (wheel.name, wheel.version, wheel.build) == ("Demo_X", "1.0.post1", "2abc")
    assert wheel.platforms == ("manylinux_2_17_x86_64", "manylinux2014_x86_64")
    assert [str(tag) for tag in wheel.tags][1] == "cp311-abi3-manylinux2014_x86_64"
    assert wheel.dist_info == "Demo_X-1.0.post1.dist-info"
    assert wheel.requires_python == ">=3.11"
    assert wheel.requires == ("attrs>=1", "rich; extra == 'pretty'")
    assert wheel.extras == ("pretty",)
    assert wheel.console_scripts == (("Demo", "demo:main"), ("other", "demo.cli:run [pretty]"))
    assert {"single.py", "demo/_other.cpython-311-x86_64-linux-gnu.so"} < set(wheel.files)
    assert not any("scripts" in name or "share" in name for name in wheel.files)
    assert wheel.scripts == ("text", "tool")
    assert wheel.binaries == ("tool",)
    assert wheel.import_names == ("demo", "single")
    assert wheel.extension_modules == ("demo._native", "demo._other")
    assert wheel.top_levels == ("demo", "single")
    assert not list((tmp_path / "store").glob(".*"))


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("pkg/_n.cpython-311-x86_64-linux-gnu.so", "pkg._n"),
        ("pkg/_n.cpython-314t-darwin.so", "pkg._n"),
        ("pkg/_n.abi3.so", "pkg._n"),
        ("pkg/_n.abi3t.so", "pkg._n"),
        ("pkg/_n.so", "pkg._n"),
        ("pkg/_n.cp311-win_amd64.pyd", "pkg._n"),
        ("_n.pyd", "_n"),
        ("pkg/_n.pypy311-pp73-x86_64-linux-gnu.so", "pkg._n"),
        ("pkg/__init__.cpython-312-darwin.so", "pkg"),
        ("pkg.libs/libx-123.so", None),
        ("pkg/.dylibs/libx.so", None),
        ("pkg/libx.so.1", None),
        ("pkg/class.so", None),
        ("pkg/lib-x.abi3.so", None),
        ("pkg/x.dll", None),
        ("pkg/.so", None),
    ],
)
def test_module_names(file: str, module: str | None) -> None:
    assert module_name(file) == module


def test_a_bare_suffix_is_a_module_only_with_its_init_function(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        "pkg/libplain.so": b"\x7fELF PyInit_other\0",
        "pkg/_bare.so": b"\x7fELF\0PyInit__bare\0",
        "pkg/_win.pyd": b"MZ\0PyInit__win\0",
        "pkg/_longer.so": b"\x7fELF\0PyInit__longer_name\0",
    }
    wheel = opened(build_wheel(tmp_path, "pkg", files=files, tags=("cp311-cp311-linux_x86_64",)), tmp_path)
    assert wheel.extension_modules == ("pkg._bare", "pkg._win")


def test_names_with_other_letters_are_found_by_their_encoded_init_function() -> None:
    assert init_function("größe") == b"PyInitU_gre_6ka8i"


def test_a_symbol_is_found_across_chunks() -> None:
    assert contains([b"..PyIn", b"it_", b"x\0.."], b"PyInit_x\0")
    assert not contains([b"PyInit_x"], b"PyInit_x\0")
    assert not contains([], b"PyInit_x\0")


def test_namespace_packages_and_other_files(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        "space/inner/mod.py": "",
        "data_only/x.json": "{}",
        "stubs-stubs/x.pyi": "",
        "tests/test_x.py": "",
        "a.pth": "",
        "__pycache__/x.cpython-311.pyc": b"",
        "__main__.py": "",
        "not-a-name/x.py": "",
    }
    wheel = opened(build_wheel(tmp_path, "space", files=files), tmp_path)
    assert wheel.import_names == ("space", "tests")
    assert wheel.extension_modules == ()


@pytest.mark.parametrize("head", ["7f454c46", "cffaedfe", "feedface", "cafebabe", "4d5a9000"])
def test_magic_of_executables(head: str) -> None:
    assert format_of(bytes.fromhex(head))


def test_scripts_are_not_executables() -> None:
    assert not format_of(b"#!py")
    assert not format_of(b"")


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (b"\0/root/.cargo/registry/src/index-1/pyo3-0.25.1/src/gil.rs\0", "0.25.1"),
        (b"C:\\cargo\\pyo3-0.26.0-beta.1\\src\\err.rs", "0.26.0-beta.1"),
        (b"pyo3-ffi-0.25.1/src/", None),
        (b"", None),
    ],
)
def test_the_version_of_pyo3(data: bytes, version: str | None) -> None:
    assert pyo3_version(data) == version


@pytest.mark.parametrize(
    "filename", ["demo.whl", "demo-1.0-py3-none-any.zip", "demo-one-py3-none-any.whl", "demo-1.0-x-py3-none-any.whl"]
)
def test_names_that_are_not_those_of_wheels(tmp_path: Path, filename: str) -> None:
    path = build_wheel(tmp_path, "demo", filename=filename)
    with pytest.raises(WheelError, match="is not named like a wheel"):
        opened(path, tmp_path)


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match="cannot be read"):
        opened(tmp_path / "demo-1.0-py3-none-any.whl", tmp_path)
    (tmp_path / "demo-2.0-py3-none-any.whl").mkdir()
    with pytest.raises(WheelError, match="is not a file"):
        opened(tmp_path / "demo-2.0-py3-none-any.whl", tmp_path)


def test_the_copy_is_made_once_and_from_many_threads(tmp_path: Path) -> None:
    paths = [build_wheel(tmp_path / str(number), "demo", files={"demo.py": str(number)}) for number in range(4)]
    with ThreadPoolExecutor() as pool:
        copies = {wheel.path for wheel in pool.map(lambda path: opened(path, tmp_path), paths * 5)}
    assert {copy.read_bytes() for copy in copies} == {path.read_bytes() for path in paths}
    assert not list((tmp_path / "store").glob(".*"))


def test_hostile_containers_are_not_opened(tmp_path: Path) -> None:
    members = [Raw(name=b"demo-1.0.dist-info/METADATA", data=b"Name: demo\n"), Raw(name=b"../evil", data=b"x")]
    path = write_zip(tmp_path / "demo-1.0-py3-none-any.whl", members)
    with pytest.raises(WheelError, match="leaves the target directory") as caught:
        opened(path, tmp_path)
    assert caught.value.details == "unsafe-name: '../evil' leaves the target directory with '..'"


def test_dist_info_must_be_one(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "demo", files={"other-1.0.dist-info/METADATA": "Name: other\n"})
    with pytest.raises(WheelError, match=r"has 2 \.dist-info directories"):
        opened(path, tmp_path)
    path = write_zip(tmp_path / "bare-1.0-py3-none-any.whl", [Raw(name=b"x.py")])
    with pytest.raises(WheelError, match=r"has no \.dist-info"):
        opened(path, tmp_path)


def test_errors_in_the_metadata_are_left_to_the_checks(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "demo", metadata="", wheel_file="", record="", entry_points="[[[\nno")
    wheel = opened(path, tmp_path)
    assert (wheel.requires, wheel.requires_python, wheel.console_scripts) == ((), None, ())
    path = build_wheel(
        tmp_path, "odd", metadata=b"\xff\xfe: \x80\nName: \xe9\nRequires-Python: 3\nRequires-Python: 4\n"
    )
    assert opened(path, tmp_path).requires_python is None
