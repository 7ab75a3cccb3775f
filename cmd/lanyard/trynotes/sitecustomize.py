# Loaded into a Python server that is tried: notes, a line each, which environment
# variables it reads by name and which files below its HOME it opens.
import os
import sys

_home = os.environ["HOME"] + os.sep
_seen = set()


def _note(kind, name):
    line = f"{kind} {name}\n"
    if line in _seen or "\n" in name or "\r" in name:
        return
    _seen.add(line)
    try:
        out = os.open(_home + ".lanyard-notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(out, line.encode())
        os.close(out)
    except OSError:
        pass  # the server must not notice


# Whoever copies the whole environment is handed each name before it asks for the
# value: that is no interest in that one.
_environ = type(os.environ)
_getitem, _iter = _environ.__getitem__, _environ.__iter__
_handed = None


def _noted_getitem(self, name):
    if isinstance(name, str) and name != _handed:
        _note("variable", name)
    return _getitem(self, name)


def _noted_iter(self):
    global _handed
    for name in _iter(self):
        _handed = name
        yield name
    _handed = None


def _audit(event, args):
    if event == "open" and isinstance(args[0], str) and args[0].startswith(_home) and not args[0].endswith(".lanyard-notes"):
        _note("file", args[0][len(_home):])


_environ.__getitem__, _environ.__iter__ = _noted_getitem, _noted_iter
sys.addaudithook(_audit)
