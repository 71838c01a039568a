"""What infra.credentials writes for IBC, read back by the class that IBC reads its config.ini with."""

import subprocess
from pathlib import Path

from infra.credentials import escape
from sandbox.environment import Sandbox
from sandbox.packages import find
from tests.unit.test_credentials import NASTY

SHOW = """
import java.io.*;
import java.util.*;

public class Show {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        try (InputStream in = new FileInputStream(arguments[0])) {
            properties.load(in);
        }
        for (int at = 0; at < properties.size(); at++) {
            byte[] bytes = properties.getProperty("k" + at).trim().getBytes("UTF-8");
            StringBuilder shown = new StringBuilder();
            for (byte one : bytes) shown.append(String.format("%02x", one));
            System.out.println(shown);
        }
    }
}
"""


def test_java_reads_back_what_was_escaped(sandbox: Sandbox, tmp_path: Path) -> None:
    """java.util.Properties.load reads config.ini; the real class decides. The sandbox brings the JDK (TESTS)."""
    java = find("java")
    assert java is not None, "java was not installed with the sandbox's packages"
    (tmp_path / "config.ini").write_text("".join(f"k{at}={escape(value)}\n" for at, value in enumerate(NASTY)))
    (tmp_path / "Show.java").write_text(SHOW)
    shown = subprocess.run(
        [java, str(tmp_path / "Show.java"), str(tmp_path / "config.ini")], capture_output=True, text=True, check=True
    )
    assert [bytes.fromhex(line).decode() for line in shown.stdout.split()] == NASTY
