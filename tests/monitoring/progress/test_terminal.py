"""Lines below the output: nothing that anybody prints is lost or torn."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Start  # for the type checker alone

DRAWING = """
    import logging, os, subprocess, sys, threading, time
    from jackfield_monitoring.progress.terminal import terminal_of

    log = logging.getLogger("early")
    log.addHandler(logging.StreamHandler())  # has the stream of this moment
    terminal = terminal_of(sys.stderr)
    over = threading.Event()

    def draw():
        number = 0
        while not over.wait(0.005):
            number += 1
            terminal.show("me", [f"drawn {line} {number}" for line in "abc"])

    terminal.show("me", ["drawn first"])
    drawer = threading.Thread(target=draw)
    drawer.start()

    def finish():
        over.set()
        drawer.join()
        terminal.finish("me", ["the last line"])
"""


def test_ten_thousand_prints_are_neither_lost_nor_torn(start: Start) -> None:
    script = """
    def say(name):
        for number in range(1250):
            if name < 3:
                print(name, "printed", number)
            elif name < 5:
                print(f"{name} printed {number}", file=sys.stderr)
            elif name < 7:
                log.error("%d printed %d", name, number)
            else:
                print(name, end="")
                print(" printed", end=" ")
                print(number)

    threads = [threading.Thread(target=say, args=[name]) for name in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    finish()
    """
    tty = start(DRAWING + script)
    assert tty.end() == 0

    whole = re.compile(r"(\d) printed (\d+)")
    said = [whole.fullmatch(line) for line in tty.text]
    for name in range(8):
        numbers = [int(one[2]) for one in said if one and int(one[1]) == name]
        assert numbers == list(range(1250)), name
    others = [line for line, one in zip(tty.text, said, strict=True) if not one]
    assert others == ["", "the last line"]


def test_a_line_can_be_shown_bit_by_bit(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    print("Go on? ", end="", flush=True)
    sys.stdin.readline()
    for part in ("one ", "two ", "three"):
        sys.stdout.write(part)
        sys.stdout.flush()
        time.sleep(0.05)  # is drawn meanwhile
    print(" four")
    finish()
    """
    )
    tty.sees("Go on?")
    tty.until(lambda tty: b"drawn c" in tty.raw.partition(b"Go on?")[2])
    assert tty.screen.cursor.x == len("Go on? ")
    tty.type("yes\n")

    assert tty.end() == 0
    assert tty.text == ["Go on? yes", "one two three four", "", "the last line"]


def test_what_is_typed_at_a_prompt_stays(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    answer = input("name: ")
    print("hello", answer)
    finish()
    """
    )
    tty.sees("name:")
    tty.type("ada")
    tty.sees("name: ada")
    seen = len(tty.raw)
    tty.until(lambda tty: tty.raw.count(b"drawn c", seen) > 5)
    tty.type("\n")

    assert tty.end() == 0
    assert tty.text == ["name: ada", "hello ada", "", "the last line"]


def test_nothing_is_drawn_while_a_line_is_edited(start: Start) -> None:
    tty = start(
        """
    import readline, sys, threading
    from jackfield_monitoring.progress.terminal import terminal_of

    terminal = terminal_of(sys.stderr)
    terminal.show("me", ["drawn"])

    def draw():
        for number in range(100):
            terminal.show("me", [f"drawn {number}"])
        print("said meanwhile")

    # When the line can be edited, for which there is no event.
    readline.set_startup_hook(threading.Timer(1.0, draw).start)
    answer = input("name: ")
    print("hello", answer)
    terminal.finish("me", [])
    """
    )
    tty.sees("name:")
    tty.type("aa\x1b[D")  # the cursor is before the last letter
    tty.sees("said meanwhile")
    assert "drawn 99" not in "".join(tty.text)
    tty.type("d\n")

    assert tty.end() == 0
    assert tty.text[-1] == "hello ada"
    assert any(line.endswith("said meanwhile") for line in tty.text)


def test_what_a_program_writes_itself_is_not_lost(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    for number in range(50):
        subprocess.run(["echo", f"echo {number}"], check=True)
        os.write(1, f"raw {number}\\n".encode())
    finish()
    """
    )
    assert tty.end() == 0

    found = [re.match(r"(echo|raw) (\d+)", line) for line in tty.text]
    said = [(one[1], int(one[2])) for one in found if one]
    assert said == [(way, number) for number in range(50) for way in ("echo", "raw")]


def test_an_unfinished_line_comes_at_the_end(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    sys.stdout.write("no line end")
    finish()
    """
    )
    assert tty.end() == 0
    assert tty.text == ["no line end", "the last line"]


def test_the_streams_are_as_they_were(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    taken = [sorted(vars(one)) for one in (sys.stdout, sys.stderr)]
    kept = sys.stdout.write
    finish()
    left = [sorted(vars(one)) for one in (sys.stdout, sys.stderr)]
    kept("kept\\n")
    print(taken, left)
    """
    )
    assert tty.end() == 0
    both = "['flush', 'mode', 'write'], ['flush', 'mode', 'write']"
    assert tty.text[-2:] == ["kept", f"[{both}] [['mode'], ['mode']]"]


def test_who_wraps_a_method_keeps_its_wrapper(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    before, said = sys.stdout.write, []
    sys.stdout.write = lambda text: (said.append(text), before(text))[1]
    print("within")
    finish()
    print("after")
    print(said)
    """
    )
    assert tty.end() == 0
    said = repr(["within", "\n", "after", "\n"])
    assert tty.text == ["within", "", "the last line", "after", said]


def test_a_carriage_return_is_shown_at_once(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    for percent in range(0, 101, 10):
        sys.stderr.write(f"\\r{percent} % of mine")
        time.sleep(0.01)
    sys.stderr.write("\\n")
    finish()
    """
    )
    assert tty.end() == 0
    assert tty.text == ["100 % of mine", "", "the last line"]


def test_two_owners_are_drawn_below_each_other(start: Start) -> None:
    tty = start(
        """
    import sys
    from jackfield_monitoring.progress.terminal import terminal_of

    terminal = terminal_of(sys.stderr)
    assert terminal is terminal_of(sys.stderr)
    terminal.show(1, ["first"])
    terminal.show(2, ["second", "third"])
    print("said")
    sys.stdin.readline()
    terminal.finish(1, ["first has ended"])
    print("said again")
    sys.stdin.readline()
    terminal.finish(2, [])
    """
    )
    tty.sees("said")
    tty.sees("third")
    assert tty.text == ["said", "", "first", "second", "third"]
    tty.type("\n")
    tty.sees("said again")
    tty.sees("third")
    ended = ["said", "", "", "first has ended", "said again"]
    assert tty.text == [*ended, "", "second", "third"]
    tty.type("\n")
    assert tty.end() == 0
    assert tty.text == ended


def test_at_the_bottom_of_the_screen_it_scrolls(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    for number in range(30):
        print("line", number)
        time.sleep(0.01)
    finish()
    """,
        rows=8,
    )
    assert tty.end() == 0
    assert tty.text == [f"line {number}" for number in range(30)] + [
        "",
        "the last line",
    ]


def test_a_forked_child_prints_for_itself(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    sys.stdout.write("the parent's ")
    pid = os.fork()
    if pid == 0:
        print("a child's line", vars(sys.stdout).keys() & {"write", "flush"})
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    print("own line")
    finish()
    """
    )
    assert tty.end() == 0
    said = [line for line in tty.text if "line" in line]
    assert said[0].startswith("a child's line set()")
    assert said[1:] == ["the parent's own line", "the last line"]


def test_many_forks_while_others_print(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    done = threading.Event()
    def chat():
        while not done.is_set():
            print("chat")
    chatting = threading.Thread(target=chat)
    chatting.start()
    for number in range(30):
        pid = os.fork()
        if pid == 0:
            print("child", number)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    done.set()
    chatting.join()
    finish()
    """
    )
    assert tty.end() == 0
    assert tty.text[-1] == "the last line"


def test_standard_output_that_goes_elsewhere_is_left_alone(start: Start) -> None:
    tty = start(
        """
    import sys
    sys.stdout = open("out.txt", "w")
    from jackfield_monitoring.progress.terminal import terminal_of

    terminal = terminal_of(sys.stderr)
    terminal.show("me", ["drawn"])
    print("into the file")
    terminal.finish("me", [])
    sys.stdout.close()
    sys.stderr.write(repr(open("out.txt").read()))
    """
    )
    assert tty.end() == 0
    assert tty.text == ["'into the file\\n'"]


def test_the_shell_has_the_terminal_to_itself(start: Start) -> None:
    """As after Ctrl-Z and ``bg``: we print what is to be printed, and draw nothing."""
    tty = start(
        """
    import os, signal, sys
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    from jackfield_monitoring.progress.terminal import terminal_of

    terminal = terminal_of(sys.stderr)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        terminal.show("me", ["drawn"])
        print("printed")
        terminal.finish("me", [])
        os._exit(0)
    os.waitpid(pid, 0)
    """
    )
    assert tty.end() == 0
    assert b"printed" in tty.raw
    assert b"drawn" not in tty.raw


def test_a_text_that_the_stream_cannot_say_is_the_printers_error(start: Start) -> None:
    tty = start(
        DRAWING
        + """
    try:
        print("\\udc80 is no text")
    except UnicodeEncodeError:
        print("as ever")
    finish()
    """,
        PYTHONIOENCODING="utf-8:strict",
    )
    assert tty.end() == 0
    assert tty.text == ["as ever", "", "the last line"]
