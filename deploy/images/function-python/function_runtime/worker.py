"""A process that has loaded the function, and runs a call at a time."""

import json
import os
import sys

from . import frames, output
from .settings import MAX_BODY

DONE, FAILED = b"0", b"1"


def work(sock):
    """Loads what the first message names, says whether that went well, and then answers calls until the server is gone."""
    settings = json.loads(frames.receive(sock))
    os.environ.update(settings["environment"])
    frames.send_descriptor(sock, output.redirect())
    frames.send(sock, str(os.getpid()).encode())
    try:
        function = load(settings)
    except BaseException as error:  # even SystemExit is the fault of the source
        output.flush()
        frames.send(sock, describe(error, text=as_text(error)))
        return
    output.flush()
    frames.send(sock, b"")
    try:
        while True:
            frames.send(sock, *answer(function, frames.receive(sock)))
    except (frames.Closed, OSError):
        return


def load(settings):
    """The function of the entry point `MODULE:FUNCTION`."""
    sys.path[:0] = [settings["directory"], settings["packages"]]
    module_name, _, name = settings["entry_point"].partition(":")
    module_name = module_name or only_module(settings["directory"])
    name = name or "main"
    import importlib

    module = importlib.import_module(module_name)
    function = getattr(module, name, None)
    if not callable(function):
        raise LoadError(f"module '{module_name}' has no function '{name}'")
    return function


def only_module(directory):
    try:
        modules = [name[:-3] for name in os.listdir(directory) if name.endswith(".py")]
    except OSError as error:
        raise LoadError(f"no source: {error}") from None
    for usual in ("func", "main"):
        if usual in modules:
            return usual
    if len(modules) != 1:
        found = ", ".join(sorted(name + ".py" for name in modules)) or "no .py file"
        raise LoadError(f"an entry point is needed, MODULE:FUNCTION: there is {found}")
    return modules[0]


class LoadError(Exception):
    """The source is not what the entry point says."""


def answer(function, body):
    """The answer's kind and its bytes."""
    try:
        result = json.dumps(function(parameters(body)), allow_nan=False).encode()
        if len(result) > MAX_BODY:
            raise ValueError(f"the result has {len(result)} bytes, more than {MAX_BODY}")
        return DONE, result
    except BaseException as error:  # even SystemExit ends the call alone
        print(as_text(error), file=sys.stderr, end="")
        return FAILED, describe(error)
    finally:
        output.flush()


def parameters(body):
    try:
        return json.loads(body)
    except ValueError:
        return ""


def describe(error, **more):
    try:
        message = str(error)
    except Exception:
        message = "(its text cannot be had)"
    return json.dumps({"error": {"type": type(error).__name__, "message": message}, **more}).encode()


def as_text(error):
    """As Python prints it, from the function's own lines on."""
    import traceback

    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    if isinstance(error, LoadError):
        return f"{error}\n"
    return "".join(traceback.format_exception(type(error), error, trace))
