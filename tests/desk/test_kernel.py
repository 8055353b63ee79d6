"""Running notebooks: what makes every run two seconds slower stays out."""

import subprocess
import sys


def test_the_slow_validator_is_not_loaded_by_a_run():
    program = "import sys, tre.desk.kernel, nbformat, jsonschema; assert sys.modules['rfc3987_syntax'] is None"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=False).returncode == 0
