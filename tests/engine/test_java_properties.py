"""What Java itself makes of config.ini, against our reader of it and against what `infra.properties` writes into it.

IBC reads its config.ini with java.util.Properties, the times of day in it with SimpleDateFormat and DateTimeFormatter.
The sandbox brings the JDK, and gettext's envsubst (packages.TESTS). One Java process answers for everything.
"""

import random
import subprocess
from collections.abc import Iterator, Sequence

import pytest

from infra.properties import escape
from sandbox.environment import Sandbox
from sandbox.gateway import properties
from sandbox.gateway.envsubst import substitute
from sandbox.gateway.settings import clock_time, lenient_time
from sandbox.packages import find
from tests.unit.test_secret_document import NASTY

# Reads requests, one a line, kind and then the input in hex; answers each with one line. Text is shown as UTF-16 units,
# in hex, so that a lone surrogate can be compared too.
ASK_JAVA = """
import java.io.*;
import java.text.*;
import java.time.*;
import java.time.format.*;
import java.util.*;

public class AskJava {
    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new FileReader(arguments[0]));
        PrintStream out = new PrintStream(new BufferedOutputStream(System.out), false, "US-ASCII");
        for (String line; (line = in.readLine()) != null;) {
            byte[] given = HexFormat.of().parseHex(line.substring(1));
            switch (line.charAt(0)) {
                case 'p': out.println(properties(given)); break;
                case 'l': out.println(lenient(new String(given, "UTF-8"))); break;
                case 'c': out.println(clock(new String(given, "UTF-8"))); break;
            }
        }
        out.flush();
    }

    static String properties(byte[] file) throws IOException {
        Properties found = new Properties();
        try {
            found.load(new ByteArrayInputStream(file));
        } catch (IllegalArgumentException e) {
            return "malformed";
        }
        StringBuilder shown = new StringBuilder();
        for (String key : new TreeSet<>(found.stringPropertyNames()))
            shown.append(units(key)).append('=').append(units(found.getProperty(key))).append(' ');
        return shown.toString().trim();
    }

    static String units(String text) {
        StringBuilder shown = new StringBuilder();
        for (char unit : text.toCharArray()) shown.append(String.format("%04x", (int) unit));
        return shown.toString();
    }

    static String lenient(String value) {
        try {
            Calendar at = Calendar.getInstance();
            at.setTime(new SimpleDateFormat("HH:mm").parse(value));
            return at.get(Calendar.HOUR_OF_DAY) + ":" + at.get(Calendar.MINUTE);
        } catch (ParseException e) {
            return "refused";
        }
    }

    static String clock(String value) {
        try {
            LocalTime at = LocalTime.parse(value, DateTimeFormatter.ofPattern("hh:mm a", Locale.ENGLISH));
            return at.getHour() + ":" + at.getMinute();
        } catch (DateTimeParseException e) {
            return "refused";
        }
    }
}
"""

SEED = 20261122  # one seed, the same cases in every run
FILES = 3000
PASSWORDS = 300

# What properties files are made of: names, escapes good and bad, separators, comments, blanks, line ends, Latin-1.
PIECES = (
    *(b"key", b"k", b"a.b", b"IbPassword", b"value", b"7", b"x y", b"$HOME", b"${A}", b"%", b'"', b"'"),
    *(b"=", b":", b" = ", b"\t:\t", b"==", b" ", b"  ", b"\t", b"\f", b"\v", b"\0"),
    *(b"\n", b"\n", b"\n", b"\r", b"\r\n", b"\n\n", b"\n \t\f\n", b"\\\n", b"\\\r\n", b"\\\r", b"\\\n   ", b"\\\n\n"),
    *(b"#", b"!", b"\n# comment", b"\n  ! comment \\\n", b"\\#", b"\\!"),
    *(b"\\", b"\\\\", b"\\\\\\", b"\\ ", b"\\=", b"\\:", b"\\t", b"\\n", b"\\r", b"\\f", b"\\b", b"\\z", b"\\\t"),
    *(
        b"\\u0041",
        b"\\u00e4",
        b"\\uD83D\\uDE00",
        b"\\uDE00",
        b"\\ud83d",
        b"\\u000a",
        b"\\u0020",
        b"\\u005c",
        b"\\u003D",
    ),
    *(b"\\\\u0041", b"\\U0041", b"\\u12", b"\\u12g4", b"\\u", b"\\u\n0041", b"\\uu0041"),
    *(b"\xe4", b"\xff", b"\x85", b"\xa0", b"\xc3\xa4"),
)
CORNERS = (
    *(b"", b"\\", b"k=\\", b"k=a\\\\", b"k=a\\\n", b"k=a\\\n\\\n", b"k\\", b"=", b":", b"=v", b" = v", b"\\ =v", b"#"),
    *(b"k=a\\\n#b", b"k=a\\\n\nl=b", b"k=a\\\n  \nl=b", b"# c\\\nk=v", b"k = = v", b"k : = v", b"k  v = w", b"k\\=l=v"),
    *(
        b"k=v\r\r\nl=w",
        b"k=v\n\rl=w",
        b"k=\\\r\n\t v",
        b"k=v\\\r",
        b"\r\n",
        b"k=v\x1a",
        b"\xef\xbb\xbfk=v",
        b"k\x0bl=v",
    ),
)

LENIENT = (
    *("07:05", "7:5", "23:59", "00:00", "24:00", "25:99", "7:05 AM", "11:55 PM", " 7: 5", "\t7:5", "-1:30", "7:-5"),
    *("7 AM", "7:", ":5", "0705", "+7:05", "7:+5", "7:5x", "x7:05", "7 :05", "7.5:05", "7:5.5", "7::5", "07:05:30"),
    *("\u0663:05", "\u00a07:05", "1000:1000"),
)
CLOCK = (
    *("11:59 PM", "12:00 AM", "12:00 PM", "12:59 AM", "01:00 AM", "00:30 AM", "00:30 PM", "13:00 PM", "09:60 AM"),
    *(
        "9:05 AM",
        "23:59",
        "11:59 pm",
        "11:59PM",
        "11:59  PM",
        " 11:59 PM",
        "11:59 PM ",
        "11:59 P",
        "\u0661\u0661:59 PM",
    ),
)


def files() -> Iterator[bytes]:
    dice = random.Random(SEED)
    yield from CORNERS
    for _ in range(FILES):
        yield b"".join(dice.choices(PIECES, k=dice.randint(1, 14)))


def passwords() -> Iterator[str]:
    """As secrets hold them: no blank at either end, no control character, up to 128 characters, any script."""
    dice = random.Random(SEED)
    ascii_ = [chr(code) for code in range(33, 127)]
    beyond = [*"äöüßéñçø§€¥£", *"パスワード密码비밀", *"пароль", "\u00a0", "\u2028", "\ufeff", "😀", "🔑"]
    yield from NASTY
    for _ in range(PASSWORDS):
        alphabet = ascii_ if dice.random() < 0.5 else [*ascii_, *beyond]
        text = "".join(dice.choices([*alphabet, " "], k=dice.randint(1, 128))).strip()
        yield text or "x"


def units(text: str) -> str:
    return text.encode("utf-16-be", "surrogatepass").hex()


def ours(file: bytes) -> str:
    try:
        found = properties.parse(file)
    except properties.MalformedEscape:
        return "malformed"
    return " ".join(f"{units(key)}={units(found[key])}" for key in sorted(found, key=units))


# What templates are made of, for envsubst: references good and bad, and what else a dollar can stand before.
TEMPLATE_PIECES = (
    *(b"$SET", b"${SET}", b"$UNSET", b"${UNSET}", b"$_x1", b"${_x1}", b"${SET:-x}", b"${SET", b"$SETTER", b"${}", b"$"),
    *(
        b"$$",
        b"$1",
        b"${1}",
        b"$-",
        b"$(SET)",
        b"{SET}",
        b"\\$SET",
        b"\\\\",
        b"}",
        b"{",
        b"SET",
        b"=",
        b" ",
        b"\n",
        b"#",
    ),
    *(b"\xc3\xa4", b"\xe4", b"\\u0024", b"'$SET'", b'"'),
)
TEMPLATE_VALUES = {b"SET": b"va$UNSET${SET}lue", b"_x1": b"\\u00E4 \xc3\xa4"}
TEMPLATES = 1000


def test_our_envsubst_does_what_gettexts_does() -> None:
    command = find("envsubst")
    assert command is not None, "envsubst was not installed with the sandbox's packages"
    dice = random.Random(SEED)
    made = [b"".join(dice.choices(TEMPLATE_PIECES, k=dice.randint(1, 12))) for _ in range(TEMPLATES)]
    end = b"\n----\n"
    done = subprocess.run([command], input=end.join(made), env=TEMPLATE_VALUES, stdout=subprocess.PIPE, check=True)
    different = [
        (template, theirs)
        for template, theirs in zip(made, done.stdout.split(end), strict=True)
        if substitute(template, TEMPLATE_VALUES) != theirs
    ]
    assert different == []


def shown(time_of_day: tuple[int, int] | None) -> str:
    return "refused" if time_of_day is None else f"{time_of_day[0]}:{time_of_day[1]}"


def rendered(password: str) -> bytes:
    """config.ini with this password as infra's escaped secret file, put in by the image's envsubst (common.sh)."""
    return substitute(b"IbPassword=${TWS_PASSWORD}\n", {b"TWS_PASSWORD": escape(password).encode()})


@pytest.fixture(scope="module")
def java(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Java's answers, by the kind of request."""
    folder = tmp_path_factory.mktemp("java")
    asked: dict[str, Sequence[bytes]] = {
        "p": [*files(), *map(rendered, passwords())],
        "l": [value.encode() for value in LENIENT],
        "c": [value.encode() for value in CLOCK],
    }
    (folder / "AskJava.java").write_text(ASK_JAVA)
    requests = [f"{kind}{given.hex()}\n" for kind, all_given in asked.items() for given in all_given]
    (folder / "requests").write_text("".join(requests))
    command = find("java")
    assert command is not None, "java was not installed with the sandbox's packages"
    options = ["-XX:TieredStopAtLevel=1", "-Xmx128m"]
    done = subprocess.run(
        [command, *options, str(folder / "AskJava.java"), str(folder / "requests")],
        capture_output=True,
        text=True,
        check=True,
    )
    answers = iter(done.stdout.splitlines())
    return {kind: [next(answers) for _ in all_given] for kind, all_given in asked.items()}


def test_our_reader_of_properties_files_finds_what_java_finds(java: dict[str, list[str]]) -> None:
    made = list(files())
    answers = java["p"][: len(made)]
    different = [file for file, answer in zip(made, answers, strict=True) if ours(file) != answer]
    assert different == []
    assert answers.count("malformed") > 100, "the generator makes no bad escapes any more"
    assert len(set(answers)) > 1000, "the generator makes too few different files"


def test_passwords_arrive_as_they_are(java: dict[str, list[str]]) -> None:
    """infra's escape, the image's envsubst, java.util.Properties and the trim of IBC's login handler, in this order."""
    made = list(passwords())
    answers = java["p"][-len(made) :]
    for password, answer in zip(made, answers, strict=True):
        key, _, value = answer.partition("=")
        assert bytes.fromhex(key).decode("utf-16-be") == "IbPassword"
        arrived = bytes.fromhex(value).decode("utf-16-be")
        assert arrived == password
        assert arrived.strip("".join(map(chr, range(33)))) == password, "IBC's trim would change it"


def test_times_of_day_are_read_as_java_reads_them(java: dict[str, list[str]]) -> None:
    """ColdRestartTime and SaveTwsSettingsAt by SimpleDateFormat, AutoRestartTime by DateTimeFormatter."""
    assert {value: shown(lenient_time(value)) for value in LENIENT} == dict(zip(LENIENT, java["l"], strict=True))
    assert {value: shown(clock_time(value)) for value in CLOCK} == dict(zip(CLOCK, java["c"], strict=True))
