"""Runs `simrec plot` in a pseudo-terminal of 100 columns and 30 rows, and looks at what it shows."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios

program, run = sys.argv[1:]
COLUMNS, ROWS = 100, 30
DEVIATING, RECORDS = 123_456, 1_000_000
COLOUR = re.compile("\x1b\\[[0-9;]*m")


def show(*arguments, **environment):
    """The lines in the terminal, with their colours."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        decisive = ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI")
        variables = {name: value for name, value in os.environ.items() if name not in decisive}
        variables.update({"TERM": "xterm-256color", **environment})
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # It shows progress.
        os.execve(program, [program, "plot", run, *arguments], variables)
    text = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux: the child closed its side.
            break
        if not part:
            break
        text += part
    _, status = os.waitpid(child, 0)
    assert status == 0, text.decode()
    lines = text.decode().splitlines()
    assert len(lines) < ROWS, lines
    for line in lines:
        assert len(COLOUR.sub("", line)) <= COLUMNS, line
    return lines


lines = show("deviating")
assert any("38;2;0;114;178" in line for line in lines), lines
lines = [COLOUR.sub("", line) for line in lines]
rows = [line for line in lines if "│" in line]
left = rows[0].index("│") + 1
# The dots of braille: eight in each character, in two columns.
dots = []
for row, line in enumerate(rows):
    for column, character in enumerate(line[left:]):
        bits = ord(character) - 0x2800
        if 0 < bits < 256:
            for bit, (x, y) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]):
                if bits >> bit & 1:
                    dots.append((4 * row + y, 2 * column + x))
columns = [x for _, x in dots]
lowest = [x for y, x in dots if y == max(dots)[0]]
expected = min(columns) + DEVIATING / (RECORDS - 1) * (max(columns) - min(columns))
assert all(abs(x - expected) <= 2 for x in lowest), (lowest, expected)
assert set(range(min(columns), max(columns) + 1)) == set(columns), "a column is empty"
assert "of 1 000 000 points; each column shows the smallest and the largest" in lines[-1]

for key in ["net/v", "net/spikes", "field", "net/xy"]:
    lines = show(key)
    assert any("38;2;" in line for line in lines), key
    assert not any("\x1b" in line for line in show(key, NO_COLOR="1")), key
    assert not any("\x1b" in line for line in show(key, TERM="dumb")), key
assert any("▀" in line for line in show("field"))
