import sys

import pytest

from tests.programs import find, missing

# What Ubuntu's transitional packages install as /usr/bin/chromium-browser and /usr/bin/thunderbird.
UBUNTU = """#!/bin/sh
if ! [ -x /snap/bin/chromium ]; then
    echo "Command '$0' requires the chromium snap to be installed." >&2
    exit 1
fi
exec /snap/bin/chromium "$@"
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its programs are shell scripts")


@pytest.fixture
def bin_folder(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_one_that_is_not_there_is_named_with_its_package(bin_folder):
    assert find("chromium", "chromium-browser") is None
    said = missing("chromium", "chromium-browser", package="chromium")
    assert said == "chromium is not installed (Debian: apt install chromium)"


def test_a_snap_is_none_whether_snapd_runs_or_not(bin_folder):
    script = program(bin_folder / "chromium-browser", UBUNTU)
    assert find("chromium", "chromium-browser") is None
    assert f"{script} is a snap" in missing("chromium", "chromium-browser", package="chromium")
    runner = program(bin_folder / "snap", "binary")
    (bin_folder / "chromium").symlink_to(runner)
    assert find("chromium") is None


def test_behind_a_snap_another_is_found(bin_folder):
    program(bin_folder / "chromium-browser", UBUNTU)
    chrome = program(bin_folder / "google-chrome", "#!/bin/sh\nexec /opt/chrome/chrome\n")
    assert find("chromium", "chromium-browser", "google-chrome") == str(chrome)
    assert missing("chromium-browser", "google-chrome", package="chromium") == ""
