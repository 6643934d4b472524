"""Selfheal's warm Python test worker.

Speaks JSON lines on standard input and output. The first process never imports
a module of the workspace; it forks a *warm* process that has collected the
tests, which forks one child per candidate and exchanges the code objects of
the functions that the candidate changes. Candidates that cannot be exchanged
that way (module level, class bodies, defaults, decorators) run *cold*: written
to disk, in a child forked before any workspace module was imported.
Everything here runs inside the sandbox and may be killed at any instant.
"""
import ast
import builtins
import difflib
import gc
import importlib
import importlib.util
import io
import json
import math
import os
import re
import resource
import runpy
import select
import signal
import sys
import threading
import time
import traceback
import types

sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

TEST_DIRS = {"test", "tests", "testing", "__tests__", "spec", "specs"}
GRACE = 0.05


def test_like(path):
    """Is it a witness: a file that states what is right?"""
    parts = path.split("/")
    name = parts[-1]
    return (
        name.startswith("test_")
        or name.startswith("tests_")
        or name.endswith("_test.py")
        or name.endswith("_tests.py")
        or name in ("conftest.py", "tests.py", "test.py")
        or any(part in TEST_DIRS for part in parts[:-1])
    )


class Setup:
    """What the start message said."""

    def __init__(self, message):
        self.mode = message["mode"]
        self.argv = message["argv"]
        here = os.getcwd()
        up = [".."] * len([part for part in message["directory"].split("/") if part])
        self.workspace = os.path.realpath(os.path.join(here, *up))
        self.directory = os.path.realpath(here)
        self.prefix = self.workspace + os.sep
        self.module_run = message.get("module", True)
        self.base = {}
        self.times = {}
        self.import_lines = set()
        self.witnesses = set()
        self.main = None
        self.mixed = False
        self.clock = 0
        self.quick = False

    def relative(self, filename):
        """Path inside the workspace, or none."""
        if not filename or filename[0] == "<":
            return None
        path = filename if os.path.isabs(filename) else os.path.join(self.directory, filename)
        path = os.path.normpath(path)
        if path.startswith(self.prefix):
            rel = path[len(self.prefix):]
        else:
            real = os.path.realpath(path)
            if not real.startswith(self.prefix):
                return None
            rel = real[len(self.prefix):]
        if "site-packages" in rel or rel.startswith((".venv/", "venv/", "env/", "node_modules/", ".tox/")):
            return None
        return rel

    def source(self, rel):
        """Text of the file as the search stands on it."""
        if rel not in self.base:
            with open(os.path.join(self.workspace, rel), "rb") as handle:
                self.base[rel] = handle.read()
        return self.base[rel]

    def apply(self, edits):
        """New bytes of every file that the edits touch."""
        changed = {}
        for rel, start, end, text in sorted(edits, key=lambda e: (e[0], -e[1], -e[2])):
            data = changed.get(rel, self.source(rel))
            changed[rel] = data[:start] + text.encode() + data[end:]
        return changed

    def write(self, rel, data):
        """Writes with a modification time no cached bytecode can have."""
        path = os.path.join(self.workspace, rel)
        self.clock += 1
        with open(path, "wb") as handle:
            handle.write(data)
        stamp = 1_000_000_000 + self.clock
        os.utime(path, (stamp, stamp))

    def witness(self, rel, function):
        """Does this code state what is right, rather than do it?"""
        if rel == self.main:
            if self.mixed:
                return function == "<module>" or function.startswith(("test", "check", "main", "run"))
            return self.main_witness
        return rel in self.witnesses or test_like(rel)

    main_witness = False

    def judge_main(self, script):
        """Decides whether the script that is run is a witness, code, or both."""
        rel = self.relative(os.path.join(self.directory, script))
        if rel is None:
            return
        self.main = rel
        try:
            text = self.source(rel).decode("utf-8", "replace")
            tree = ast.parse(text)
        except (OSError, SyntaxError, ValueError):
            return
        folder = os.path.dirname(os.path.join(self.workspace, rel))
        local = False
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
                local = local or node.level > 0
            for name in names:
                top = name.split(".")[0]
                for root in (folder, self.workspace, self.directory):
                    base = os.path.join(root, top)
                    if top and (os.path.exists(base + ".py") or os.path.isdir(base)):
                        local = True
        asserts = any(isinstance(node, ast.Assert) for node in ast.walk(tree))
        asserts = asserts or "unittest" in text or "doctest" in text or "AssertionError" in text or "sys.exit(1" in text
        if asserts and local:
            self.main_witness = True
        elif asserts:
            self.mixed = True
        else:
            self.main_witness = test_like(rel)


def kind_of(value):
    """Coarse run-time kind of a value."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float, complex)):
        return "number"
    if isinstance(value, (str, bytes)):
        return "text"
    if isinstance(value, (list, tuple)):
        return "sequence"
    if isinstance(value, dict):
        return "mapping"
    if isinstance(value, (set, frozenset)):
        return "set"
    if callable(value):
        return "callable"
    return "object"


class Stop(BaseException):
    """The profile's time is over."""


class Tracer:
    """Line coverage per witness line, and run-time kinds of variables."""

    LIMIT = 4000

    def __init__(self, setup):
        self.setup = setup
        self.codes = {}
        self.segments = []
        self.current = set()
        self.mark = ("import", 0)
        self.test = None
        self.kinds = {}
        self.seen = {}
        self.deadline = None
        self.depth = 0
        self.count = 0

    def begin(self, test, deadline):
        self.close()
        self.test = test
        self.depth = 0
        self.deadline = deadline

    def close(self):
        if self.current:
            self.segments.append((self.test, self.mark, self.current))
        self.current = set()
        self.mark = ("", 0)

    def start(self):
        threading.settrace(self.globally)
        sys.settrace(self.globally)

    def stop(self):
        sys.settrace(None)
        threading.settrace(None)
        self.close()

    def globally(self, frame, event, arg):
        code = frame.f_code
        local = self.codes.get(code)
        if local is None:
            rel = self.setup.relative(code.co_filename)
            if rel is None:
                local = False
            elif self.setup.witness(rel, code.co_name):
                local = self.make_witness(rel)
            else:
                local = self.make_local(rel, code)
            self.codes[code] = local
        if not local:
            return None
        return local(frame, event, arg)

    def tick(self):
        self.count += 1
        if self.count & 1023 == 0 and self.deadline is not None and time.process_time() > self.deadline:
            self.deadline = None
            raise Stop()

    def make_witness(self, rel):
        def trace(frame, event, arg):
            if event == "line":
                self.tick()
                # A callback from the code under test belongs to its caller.
                if self.depth <= 0:
                    if len(self.segments) < self.LIMIT:
                        self.close()
                    self.mark = (rel, frame.f_lineno)
            return trace

        return trace

    def make_local(self, rel, code):
        key = rel + ":" + code.co_name + ":" + str(code.co_firstlineno)

        def trace(frame, event, arg):
            if event == "line":
                self.current.add((rel, frame.f_lineno))
                self.tick()
            elif event == "return":
                self.depth -= 1
                done = self.seen.get(key, 0)
                if done < 12 and code.co_name != "<module>":
                    self.seen[key] = done + 1
                    into = self.kinds.setdefault(key, {})
                    for name, value in frame.f_locals.items():
                        into.setdefault(name, set()).add(kind_of(value))
                    into.setdefault("return", set()).add(kind_of(arg))
            return trace

        def enter(frame, event, arg):
            self.depth += 1
            self.current.add((rel, frame.f_lineno))
            return trace

        return enter

    def report(self, outcomes):
        """Coverage counts: file -> line -> [failing and passing pieces, failing and passing tests]; and what ran while importing."""
        self.close()
        failing_at = {test for test, outcome in outcomes.items() if outcome["outcome"] in ("fail", "hang")}
        # The piece that ran last before a test failed: the assertion's own line
        # often only compares what the line above it computed.
        last = {test: index for index, (test, _, _) in enumerate(self.segments) if test in failing_at}
        failing = passing = 0
        spectrum = {}
        imported = {}
        counted = set()
        for index, (test, mark, lines) in enumerate(self.segments):
            if test is None:
                for rel, line in lines:
                    imported.setdefault(rel, set()).add(line)
                continue
            if test not in failing_at:
                column = 1
            elif test not in last or last[test] == index:
                column = 0
            elif mark == self.segments[last[test]][1]:
                column = 1
            else:
                # Went before in the same test: it may have spoilt the state.
                column = 2
            if not lines:
                continue
            failing += column == 0
            passing += column == 1
            for rel, line in lines:
                cell = spectrum.setdefault(rel, {}).setdefault(line, [0, 0, 0, 0])
                if column < 2:
                    cell[column] += 1
                # Whole tests as well: a long test is one witness, not a thousand.
                if (test, rel, line) not in counted:
                    counted.add((test, rel, line))
                    cell[2 if test in failing_at else 3] += 1
        return {
            "spectrum": spectrum,
            "failing": failing,
            "passing": passing,
            "imported": {rel: sorted(lines) for rel, lines in imported.items()},
            "kinds": {key: {n: sorted(k) for n, k in names.items()} for key, names in self.kinds.items()},
        }


def close_names(wrong, names):
    """Likeliest meant names: alike, or one the abbreviation of the other."""
    ranked = []
    for name in dict.fromkeys(n for n in names if isinstance(n, str) and n != wrong):
        score = difflib.SequenceMatcher(None, wrong.lower(), name.lower()).ratio()
        short, long = sorted((wrong.lower(), name.lower()), key=len)
        letters = iter(long)
        if len(short) > 1 and all(letter in letters for letter in short):
            score += 0.25
        if score >= 0.6:
            ranked.append((-score, name))
    return [name for _, name in sorted(ranked)[:4]]


def hints_of(exc, frame):
    """What the interpreter's own error says about the right name."""
    hints = []
    text = str(exc)
    try:
        if isinstance(exc, UnboundLocalError):
            found = re.search(r"'(\w+)'", text)
            if found:
                hints.append({"kind": "unbound", "wrong": found.group(1), "right": []})
        elif isinstance(exc, NameError):
            found = re.search(r"name '(\w+)'", text)
            if found and frame is not None:
                wrong = found.group(1)
                names = list(frame.f_locals) + list(frame.f_globals) + dir(builtins)
                hints.append({"kind": "name", "wrong": wrong, "right": close_names(wrong, names)})
                members = getattr(frame.f_locals.get("self"), "__dict__", None) or dir(frame.f_locals.get("self"))
                if frame.f_locals.get("self") is not None and wrong in dir(frame.f_locals["self"]) or wrong in members:
                    hints.append({"kind": "self", "wrong": wrong, "right": []})
                if importlib.util.find_spec(wrong) is not None:
                    hints.append({"kind": "import", "wrong": wrong, "right": ["import " + wrong]})
                for module in ("collections", "functools", "itertools", "math", "typing", "datetime", "re", "json", "decimal",
                               "dataclasses", "pathlib", "copy", "random", "heapq", "bisect", "operator", "string",
                               "fractions", "statistics", "enum", "abc", "contextlib", "time", "os", "sys", "logging"):
                    try:
                        if wrong in dir(importlib.import_module(module)):
                            hints.append({"kind": "import", "wrong": wrong, "right": ["from %s import %s" % (module, wrong)]})
                    except ImportError:
                        continue
        elif isinstance(exc, AttributeError):
            found = re.search(r"has no attribute '(\w+)'", text)
            obj = getattr(exc, "obj", None)
            if found:
                wrong = found.group(1)
                hints.append({"kind": "attribute", "wrong": wrong, "right": close_names(wrong, dir(obj))})
                if obj is None or "NoneType" in text:
                    hints.append({"kind": "none", "wrong": wrong, "right": []})
        elif isinstance(exc, KeyError) and exc.args and isinstance(exc.args[0], str) and frame is not None:
            wrong = exc.args[0]
            keys = []
            holders = list(frame.f_locals.values())[:200]
            for value in list(holders):
                holders.extend(list(getattr(value, "__dict__", {}).values())[:50])
            for value in holders:
                if isinstance(value, dict):
                    keys.extend(k for k in list(value)[:200] if isinstance(k, str))
            hints.append({"kind": "key", "wrong": wrong, "right": close_names(wrong, keys) or sorted(set(keys))[:4]})
        elif isinstance(exc, ModuleNotFoundError):
            hints.append({"kind": "module", "wrong": exc.name or "", "right": close_names(exc.name or "", list(sys.stdlib_module_names))})
        elif isinstance(exc, ImportError):
            found = re.search(r"cannot import name '(\w+)' from '([\w.]+)'", text)
            if found:
                module = sys.modules.get(found.group(2))
                hints.append({"kind": "name", "wrong": found.group(1), "right": close_names(found.group(1), dir(module))})
        elif isinstance(exc, TypeError):
            found = re.search(r"unexpected keyword argument '(\w+)'", text)
            if found:
                hints.append({"kind": "keyword", "wrong": found.group(1), "right": []})
            if "NoneType" in text:
                hints.append({"kind": "none", "wrong": "", "right": []})
    except Exception:  # a hint is never worth a failure
        pass
    return hints


def unique(frames):
    """Frames in order, each once: recursion repeats them a thousand times."""
    seen, kept = set(), []
    for frame in frames:
        if tuple(frame) not in seen:
            seen.add(tuple(frame))
            kept.append(frame)
    return kept[:4] + kept[4:][-20:]


def failure_of(exc, tb, setup):
    """Plain facts about an exception."""
    if setup.quick:
        return {"type": type(exc).__name__, "message": "", "frames": []}
    frames = []
    innermost = None
    values = {}
    while tb is not None:
        rel = setup.relative(tb.tb_frame.f_code.co_filename)
        if rel is not None:
            frames.append([rel, tb.tb_lineno, tb.tb_frame.f_code.co_name])
            innermost = tb.tb_frame
        tb = tb.tb_next
    frames = unique(frames)
    if isinstance(exc, SyntaxError) and exc.filename:
        rel = setup.relative(exc.filename)
        if rel is not None:
            frames.append([rel, exc.lineno or 1, "<syntax>"])
    return {
        "type": type(exc).__name__,
        "bases": [base.__name__ for base in type(exc).__mro__ if issubclass(base, Exception)],
        "message": str(exc)[:600],
        "frames": frames,
        "hints": hints_of(exc, innermost),
        "values": values,
    }


def parse_failure(text, setup):
    """The same from a printed traceback."""
    frames = []
    for match in re.finditer(r'File "([^"]+)", line (\d+)(?:, in (\S+))?', text):
        rel = setup.relative(match.group(1))
        if rel is not None:
            frames.append([rel, int(match.group(2)), match.group(3) or ""])
    lines = [line for line in text.strip().splitlines() if line and not line.startswith(" ")]
    last = lines[-1] if lines else ""
    kind, _, message = last.partition(": ")
    return {"type": kind, "bases": [kind], "message": message[:600], "frames": unique(frames), "hints": [], "values": {}}


class Suite:
    """Tests that were collected and can be run one at a time."""

    def __init__(self, setup, ids, run, broken):
        self.setup = setup
        self.ids = ids
        self.run = run
        self.broken = broken


def limit_child(cpu):
    signal.setitimer(signal.ITIMER_PROF, cpu)


def bound_memory():
    try:
        with open("/proc/self/statm") as handle:
            pages = int(handle.read().split()[0])
        cap = pages * resource.getpagesize() + (1536 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (cap, cap))
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20, 256 << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        pass


def emit(fd, value):
    data = (json.dumps(value) + "\n").encode()
    while data:
        data = data[os.write(fd, data):]


def run_listed(suite, wanted, everything, cpu, out, tracer=None, order_only=False):
    """Runs tests one at a time, writes one line per test, stops at the first failure."""
    suite.setup.quick = tracer is None
    todo = [t for t in wanted]
    if everything:
        first = set(todo)
        todo += [t for t in suite.ids if t not in first]
    known = set(suite.ids)
    for test, fault in suite.broken.items():
        if tracer is not None or test in wanted or everything:
            emit(out, {"test": test, "outcome": "fail", "seconds": 0.0, **fault})
            if tracer is None:
                return
    for index, test in enumerate(todo):
        if test.startswith("collect:"):
            emit(out, {"test": test, "outcome": "fail" if test in suite.broken else "pass", "seconds": 0.0})
            continue
        if test not in known:
            emit(out, {"test": test, "outcome": "fail", "seconds": 0.0, "type": "Missing", "message": "the test is gone"})
            if tracer is None:
                return
            continue
        cap = max(cpu, 8.0 * suite.setup.times.get(test, 0.0))
        following = todo[index + 1] if index + 1 < len(todo) and todo[index + 1] in known else None
        started, wall = time.process_time(), time.monotonic()
        if tracer is None:
            limit_child(cap)
            fault = suite.run(test, following)
            limit_child(0)
        else:
            emit(out, {"begin": test})
            tracer.begin(test, started + cpu)
            try:
                tracer.start()
                fault = suite.run(test, following)
            except Stop:
                fault = {"outcome": "hang", "frames": []}
            finally:
                tracer.stop()
        answer = {"test": test, "seconds": time.process_time() - started, "wall": time.monotonic() - wall}
        answer.update(fault or {"outcome": "pass"})
        emit(out, answer)
        if tracer is None and answer["outcome"] != "pass" and answer["outcome"] != "skip":
            return


def silence():
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(null, 2)


def forked(work):
    """Runs work(fd) in a child; gives (pid, readable end)."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            os.close(reader)
            os.setpgid(0, 0)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            bound_memory()
            work(writer)
        except BaseException as exc:
            try:
                emit(writer, {"crash": repr(exc)[:300] + traceback.format_exc()[-900:]})
            except BaseException:
                pass
            code = 1
        finally:
            os._exit(code)
    os.close(writer)
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass
    return pid, reader


def gather(pid, reader, wall, total):
    """Lines the child wrote until it ended or was too slow; then its status."""
    lines, rest = [], b""
    end = time.monotonic() + total
    late = False
    while True:
        left = min(wall, end - time.monotonic())
        ready = select.select([reader], [], [], max(left, 0.0))[0]
        if not ready:
            late = True
            break
        chunk = os.read(reader, 1 << 16)
        if not chunk:
            break
        rest += chunk
        *whole, rest = rest.split(b"\n")
        lines.extend(whole)
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    _, status = os.waitpid(pid, 0)
    os.close(reader)
    out = []
    for line in lines:
        try:
            out.append(json.loads(line))
        except ValueError:
            continue
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
    return out, late or killed, status


# --- the three ways to get a suite -----------------------------------------


def pytest_suite(setup, serve):
    """Collects with pytest and calls serve(Suite) in its test loop."""
    import pytest

    import _pytest.nodes

    # Nobody reads the printed tracebacks, and they cost more than most tests.
    _pytest.nodes.Node._repr_failure_py = lambda self, excinfo, style=None: "failed"

    class Plugin:
        def __init__(self):
            self.fault = None
            self.broken = {}

        def pytest_collectreport(self, report):
            if report.failed:
                fault = parse_failure(str(report.longrepr), setup)
                call = getattr(report, "selfheal", None)
                self.broken["collect:" + (report.nodeid or ".")] = call or fault

        @pytest.hookimpl(hookwrapper=True)
        def pytest_make_collect_report(self, collector):
            outcome = yield
            report = outcome.get_result()
            info = getattr(getattr(report, "call", None), "excinfo", None)
            if report.failed and info is not None:
                exc = info.value
                cause = exc.__cause__ or exc.__context__
                if cause is not None and type(exc).__name__ == "CollectError":
                    exc = cause
                report.selfheal = failure_of(exc, exc.__traceback__, setup)

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(self, item, call):
            outcome = yield
            report = outcome.get_result()
            if call.excinfo is not None and isinstance(call.excinfo.value, Stop):
                raise call.excinfo.value
            if report.failed and self.fault is None:
                if call.excinfo is not None:
                    self.fault = failure_of(call.excinfo.value, call.excinfo.tb, setup)
                    self.fault["outcome"] = "fail"
                else:
                    self.fault = {"outcome": "fail", "type": "Failed", "message": str(report.longrepr)[:300], "frames": []}
            elif report.skipped and self.fault is None and not hasattr(report, "wasxfail"):
                self.fault = {"outcome": "skip"}

        def pytest_runtestloop(self, session):
            items = {}
            for item in session.items:
                items.setdefault(item.nodeid, item)
                setup.witnesses.add(setup.relative(str(item.fspath)))

            def run(test, following):
                self.fault = None
                item = items[test]
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=items.get(following))
                return self.fault

            serve(Suite(setup, list(items), run, self.broken))
            return True

    args = list(setup.argv) + ["-p", "no:cacheprovider", "-p", "no:faulthandler"]
    if importlib.util.find_spec("xdist") is not None:
        args += ["-n0"]
    if importlib.util.find_spec("pytest_cov") is not None:
        args += ["--no-cov"]
    pytest.main(args, plugins=[Plugin()])


class Recorder:
    """unittest result that keeps the first fault; built late, unittest is imported by then."""

    @staticmethod
    def build(setup):
        import unittest

        class Result(unittest.TestResult):
            def __init__(self):
                super().__init__()
                self.fault = None

            def keep(self, err):
                if isinstance(err[1], Stop):
                    raise err[1]
                if self.fault is None or self.fault["outcome"] != "fail":
                    self.fault = failure_of(err[1], err[2], setup)
                    self.fault["outcome"] = "fail"

            def addError(self, test, err):
                self.keep(err)

            def addFailure(self, test, err):
                self.keep(err)

            def addSubTest(self, test, subtest, err):
                if err is not None:
                    self.keep(err)

            def addSkip(self, test, reason):
                super().addSkip(test, reason)
                if self.fault is None:
                    self.fault = {"outcome": "skip"}

            def addUnexpectedSuccess(self, test):
                super().addUnexpectedSuccess(test)
                if self.fault is None:
                    self.fault = {"outcome": "fail", "type": "UnexpectedSuccess", "message": "", "frames": []}

        return Result()


def unittest_serve(setup, suite, serve):
    """Flattens a unittest suite and calls serve(Suite)."""
    import unittest

    flat, broken = {}, {}

    def walk(node):
        if isinstance(node, unittest.TestSuite):
            for part in list(node):
                walk(part)
            return
        if node is None:
            return
        name = node.id()
        if type(node).__name__ == "_FailedTest":
            exc = getattr(node, "_exception", None)
            fault = parse_failure(str(exc), setup)
            broken["collect:" + name] = fault
            return
        serial, base = 2, name
        while name in flat:
            name = "%s#%d" % (base, serial)
            serial += 1
        flat[name] = node
        module = sys.modules.get(type(node).__module__)
        rel = setup.relative(getattr(module, "__file__", None) or "<>")
        if rel != setup.main:
            setup.witnesses.add(rel)

    walk(suite)

    def run(test, following):
        result = Recorder.build(setup)
        unittest.TestSuite([flat[test]]).run(result)
        return result.fault

    serve(Suite(setup, list(flat), run, broken))


def unittest_suite(setup, serve):
    """Loads as `python -m unittest ARGS` does."""
    import unittest

    class Runner:
        def run(self, test):
            unittest_serve(setup, test, serve)
            return unittest.TestResult()

    unittest.TestProgram(module=None, argv=["python -m unittest"] + list(setup.argv), testRunner=Runner(), exit=False)


def script_suite(setup, serve):
    """Runs a script; if it calls unittest.main, its suite is served instead.

    A script without one has a single test, the script itself."""
    import unittest

    served = []

    def capture(*args, **kwargs):
        class Runner:
            def run(self, test):
                served.append(True)
                unittest_serve(setup, test, serve)
                return unittest.TestResult()

        kwargs["testRunner"] = Runner()
        kwargs["exit"] = False
        kwargs["argv"] = kwargs.get("argv") or sys.argv
        original(*args, **kwargs)

    original = unittest.TestProgram
    unittest.main = capture
    unittest.TestProgram = capture
    return served


def run_script(setup):
    """The whole script as one test: none when it ended well."""
    code = None
    try:
        if setup.mode == "module":
            sys.argv = [setup.argv[0]] + setup.argv[1:]
            runpy.run_module(setup.argv[0], run_name="__main__", alter_sys=True)
        elif setup.mode == "inline":
            sys.argv = ["-c"] + setup.argv[1:]
            exec(compile(setup.argv[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = list(setup.argv)
            path = setup.argv[0]
            with open(path, "rb") as handle:
                text = handle.read()
            module = types.ModuleType("__main__")
            module.__file__ = os.path.abspath(path)
            module.__builtins__ = builtins
            sys.modules["__main__"] = module
            exec(compile(text, os.path.abspath(path), "exec"), module.__dict__)
    except SystemExit as exc:
        code = exc.code
        if code in (None, 0):
            return None
        fault = failure_of(exc, exc.__traceback__, setup)
        context = exc.__context__
        if context is not None and fault is not None:
            fault = failure_of(context, context.__traceback__, setup)
        fault["outcome"] = "fail"
        return fault
    except Stop:
        raise
    except BaseException as exc:
        fault = failure_of(exc, exc.__traceback__, setup)
        fault["outcome"] = "fail"
        return fault
    return None


def with_suite(setup, serve):
    """Calls serve(Suite) once, whichever way this command collects."""
    sys.argv = [sys.argv[0]]
    if setup.mode == "pytest":
        pytest_suite(setup, serve)
    elif setup.mode == "unittest":
        unittest_suite(setup, serve)
    else:
        once = Suite(setup, ["script"], lambda test, following: run_script(setup), {})
        serve(once)


# --- hot exchange of code ----------------------------------------------------


def code_key(code):
    return (code.co_filename, code.co_name, code.co_firstlineno)


def plain_consts(code):
    return [repr(c) if not isinstance(c, types.CodeType) else "<code>" for c in code.co_consts]


def pair_codes(old, new, pairs, inside):
    """Pairs code objects of two versions; false when they cannot be exchanged."""
    if not inside:
        if old.co_code != new.co_code or plain_consts(old) != plain_consts(new) or old.co_names != new.co_names:
            return False
    olds = [c for c in old.co_consts if isinstance(c, types.CodeType)]
    news = [c for c in new.co_consts if isinstance(c, types.CodeType)]
    if len(olds) != len(news) or [c.co_name for c in olds] != [c.co_name for c in news]:
        return inside
    for left, right in zip(olds, news):
        function = bool(left.co_flags & 0x1)
        if function:
            if left.co_freevars != right.co_freevars:
                return False
            if left.co_varnames[: left.co_argcount] != right.co_varnames[: right.co_argcount] or left.co_flags != right.co_flags:
                return False
            if left.co_argcount != right.co_argcount or left.co_kwonlyargcount != right.co_kwonlyargcount:
                return False
            pairs.append((left, right))
        if not pair_codes(left, right, pairs, inside or function):
            return False
    return True


class Warm:
    """The process that has collected; lives inside the test loop."""

    def __init__(self, setup, commands, answers, tracer_imported):
        self.setup = setup
        self.commands = commands
        self.answers = answers
        self.functions = {}
        self.codes = {}
        self.imported = tracer_imported

    def serve(self, suite):
        self.suite = suite
        by_code = {}
        for obj in gc.get_objects():
            if isinstance(obj, types.FunctionType):
                rel = self.setup.relative(obj.__code__.co_filename)
                if rel is not None:
                    by_code.setdefault((rel, obj.__code__.co_name, obj.__code__.co_firstlineno), []).append(obj)
        self.functions = by_code
        gc.freeze()
        emit(self.answers, {"tests": suite.ids, "broken": suite.broken, "witnesses": sorted(w for w in self.setup.witnesses if w)})
        stream = os.fdopen(self.commands, "r", encoding="utf-8")
        for line in stream:
            request = json.loads(line)
            if request["op"] == "profile":
                self.profile(request)
            elif request["op"] == "try":
                emit(self.answers, self.attempt(request))
            elif request["op"] == "times":
                self.setup.times = request["times"]
                self.setup.import_lines = {(rel, line) for rel, lines in request["imported"].items() for line in lines}
        os._exit(0)

    def profile(self, request):
        """Runs all tests under the tracer; a test that hangs is cut and the rest goes on."""
        emit(self.answers, profile_tests(self.setup, self.suite, request))

    def old_code(self, rel):
        if rel not in self.codes:
            path = os.path.join(self.setup.workspace, rel)
            self.codes[rel] = compile(self.setup.source(rel), path, "exec", dont_inherit=True)
        return self.codes[rel]

    def attempt(self, request):
        pairs = []
        for rel, data in self.setup.apply(request["edits"]).items():
            path = os.path.join(self.setup.workspace, rel)
            try:
                new = compile(data, path, "exec", dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError):
                return {"outcome": "invalid"}
            found = []
            if not pair_codes(self.old_code(rel), new, found, False):
                return {"cold": True}
            for old, fresh in found:
                same = old.co_code == fresh.co_code and plain_consts(old) == plain_consts(fresh) and old.co_names == fresh.co_names
                if same and old.co_varnames == fresh.co_varnames and old.co_firstlineno == fresh.co_firstlineno:
                    continue
                pairs.append((rel, old, fresh, same))
        targets = []
        for rel, old, fresh, same in pairs:
            if not same and any(r == rel and old.co_firstlineno < line for r, line in self.ran_at_import(rel, old)):
                return {"cold": True}
            for function in self.functions.get((rel, old.co_name, old.co_firstlineno), []):
                targets.append((function, fresh))
        if not targets:
            return {"cold": True}

        def work(out):
            for function, fresh in targets:
                function.__code__ = fresh
            run_listed(self.suite, request["tests"], request.get("all", False), request["cpu"], out)

        return judge(forked(work), request)

    def ran_at_import(self, rel, code):
        lines = {line for _, _, line in code.co_lines() if line}
        return [(r, line) for r, line in self.setup.import_lines if r == rel and line in lines and line != code.co_firstlineno]


def judge(child, request):
    """Turns a child's lines into one answer."""
    lines, late, status = gather(child[0], child[1], request["wall"], request.get("total", 60.0))
    answer = {"outcome": "pass", "passed": 0, "ran": []}
    for line in lines:
        if "crash" in line:
            return {"outcome": "crash", "passed": answer["passed"], "message": line["crash"]}
        if "test" not in line:
            continue
        if line["outcome"] in ("pass", "skip"):
            answer["passed"] += 1
        else:
            answer["outcome"] = "fail"
            for key in ("test", "type", "message", "frames"):
                answer[key] = line.get(key)
            return answer
    if late:
        answer["outcome"] = "timeout"
    elif os.WIFSIGNALED(status) or not lines or (os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0 and answer["passed"] == 0):
        answer["outcome"] = "crash"
    elif answer["passed"] < len(request["tests"]):
        answer["outcome"] = "crash"
    return answer


def run_batch(setup, suite, batch, caps, tracer, until, wall, fine=()):
    """Runs tests in one child; gives its lines and the test during which it ended, if any."""

    def work(out):
        results = {}
        for index, test in enumerate(batch):
            following = batch[index + 1] if index + 1 < len(batch) else None
            emit(out, {"begin": test})
            started, clock = time.process_time(), time.monotonic()
            cap = caps(test)
            if tracer is not None:
                tracer.begin(test, started + cap)
                limit_child(2 * cap + 1)
            else:
                limit_child(cap)
            try:
                if tracer is not None:
                    tracer.start()
                fault = suite.run(test, following)
            except Stop:
                fault = {"outcome": "hang", "frames": [], "type": "Hang", "message": "does not end"}
            finally:
                if tracer is not None:
                    tracer.stop()
                limit_child(0)
            answer = {"test": test, "seconds": time.process_time() - started, "wall": time.monotonic() - clock}
            answer.update(fault or {"outcome": "pass"})
            results[test] = answer
            emit(out, answer)
            if time.monotonic() > until or answer["outcome"] == "hang":
                break
        if tracer is not None:
            # Cut while it was watched, but known to pass: no failure.
            emit(out, {"report": tracer.report({t: r for t, r in results.items() if t not in fine})})
        modules = sorted(
            name for name, module in list(sys.modules.items())
            if name != "__main__" and "." not in name and setup.relative(getattr(module, "__file__", None) or "<>") is None
            and getattr(module, "__spec__", None) is not None
        )
        emit(out, {"modules": modules})

    lines, _, _ = gather(*forked(work), wall, max(until - time.monotonic(), 0.1) + wall)
    begun = None
    for line in lines:
        if "begin" in line:
            begun = line["begin"]
        elif line.get("test") == begun:
            begun = None
    return lines, begun


def outcomes_of(setup, suite, request, outcomes, until):
    """Runs everything once, unwatched; what hangs is cut and the rest goes on."""
    hangs = []
    todo = list(suite.ids)
    while todo and time.monotonic() < until:
        quick = max((o["seconds"] for o in outcomes.values() if o["outcome"] in ("pass", "fail")), default=0.0) < 0.05
        cap = (0.7, 0.4, 0.3, 0.12)[min(len(hangs), 3)] if quick else 1.5
        if any(o["outcome"] == "fail" for o in outcomes.values()):
            until = min(until, time.monotonic() + 0.3 * request["budget"])
        lines, begun = run_batch(setup, suite, todo, lambda test: cap, None, until, request["wall"])
        for line in lines:
            if "test" in line:
                outcomes[line["test"]] = line
        if begun is not None:
            hangs.append(begun)
            outcomes[begun] = {"test": begun, "outcome": "hang", "seconds": cap, "wall": cap, "frames": [], "type": "Hang",
                               "message": "does not end"}
        elif not any("test" in line for line in lines):
            break
        todo = [test for test in todo if test not in outcomes]
    if any(o["outcome"] == "fail" for o in outcomes.values()):
        # Something else fails for certain: these may just be slow.
        for slow in hangs:
            outcomes[slow].update(outcome="slow", seconds=1.5, wall=1.5)
        return
    # Slow is not endless: unless it is far slower than all others, the first gets more time.
    slowest = max((o["seconds"] for o in outcomes.values() if o["outcome"] != "hang"), default=0.0)
    if slowest < 0.05:
        return
    patience = 3.0
    for test in hangs:
        lines, _ = run_batch(setup, suite, [test], lambda _: patience, None, time.monotonic() + patience, 3.0 * patience + 2.0)
        ended = [line for line in lines if "test" in line]
        if not ended:
            return
        outcomes[test] = ended[-1]
        patience = max(patience, 2.0 * ended[-1]["seconds"])
        if time.monotonic() > until + 10.0:
            return


def profile_tests(setup, suite, request):
    """First what fails, then where: failing tests are watched, then their neighbours."""
    outcomes = {}
    merged = {"spectrum": {}, "failing": 0, "passing": 0, "imported": {}, "kinds": {}}
    for test, fault in suite.broken.items():
        outcomes[test] = {"test": test, "outcome": "fail", "seconds": 0.0, **fault}
    started = time.monotonic()
    outcomes_of(setup, suite, request, outcomes, started + 0.75 * request["budget"])
    failing = [t for t in suite.ids if outcomes.get(t, {}).get("outcome") == "fail"]
    failing.sort(key=lambda t: outcomes[t]["seconds"])
    hanging = [t for t in suite.ids if outcomes.get(t, {}).get("outcome") == "hang"]
    passing = [t for t in suite.ids if outcomes.get(t, {}).get("outcome") == "pass"]
    homes = [t.replace("::", ".").rsplit(".", 1)[0] for t in failing + hanging]
    passing.sort(key=lambda t: (t.replace("::", ".").rsplit(".", 1)[0] not in homes, outcomes[t]["seconds"]))
    until = time.monotonic() + max(0.5 * request["budget"], 2.0)
    # The quickest failure and what passes beside it say most; long failures come last.
    brief = [t for t in passing if outcomes[t]["seconds"] < 0.3][:300]
    groups = [failing[:1], hanging[:1], brief, failing[1:12], hanging[1:2]]
    for group in groups:
        if not group or time.monotonic() > until:
            continue
        lines, _ = run_batch(setup, suite, group, lambda t: 6.0 if t in failing else 0.3 if t in hanging else 1.0, Tracer(setup), until, request["wall"], set(passing))
        for line in lines:
            if "report" in line:
                merge_report(merged, line["report"])
            elif "modules" in line:
                merged["modules"] = line["modules"]
    merged["tests"] = [outcomes[t] for t in list(suite.broken) + list(suite.ids) if t in outcomes]
    merged["left"] = [t for t in suite.ids if t not in outcomes]
    return merged


def merge_report(into, report):
    into["failing"] += report["failing"]
    into["passing"] += report["passing"]
    for rel, lines in report["spectrum"].items():
        table = into["spectrum"].setdefault(rel, {})
        for line, counts in lines.items():
            cell = table.setdefault(str(line), [0, 0, 0, 0])
            for column, count in enumerate(counts):
                cell[column] += count
    for rel, lines in report["imported"].items():
        into["imported"][rel] = sorted(set(into["imported"].get(rel, [])) | set(lines))
    for key, names in report["kinds"].items():
        table = into["kinds"].setdefault(key, {})
        for name, kinds in names.items():
            table[name] = sorted(set(table.get(name, [])) | set(kinds))


SITE = """
import atexit, os, sys, threading
def _selfheal():
    root, folder = os.environ["SELFHEAL_ROOT"], os.environ["SELFHEAL_TRACE"]
    seen, files = set(), {}
    def local(frame, event, arg):
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return local
    def tracer(frame, event, arg):
        name = frame.f_code.co_filename
        inside = files.get(name)
        if inside is None:
            full = os.path.abspath(name)
            inside = files[name] = full.startswith(root) and "site-packages" not in full
        if inside:
            return local
    def write():
        sys.settrace(None)
        with open(os.path.join(folder, "%d.cover" % os.getpid()), "w") as out:
            for name, line in sorted(seen):
                out.write("%s:%d\\n" % (os.path.abspath(name), line))
    atexit.register(write)
    threading.settrace(tracer)
    sys.settrace(tracer)
_selfheal()
"""


class Worker:
    """The first process: protocol, cold runs, and the warm process's parent."""

    def __init__(self):
        self.input = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self.output = os.dup(1)
        if not os.environ.get("SELFHEAL_WORKER_DEBUG"):
            silence()
        self.setup = None
        self.warm = None

    def loop(self):
        for line in self.input:
            request = json.loads(line)
            try:
                answer = getattr(self, "on_" + request["op"])(request)
            except Exception as exc:
                answer = {"error": repr(exc)[:200] + " " + traceback.format_exc()[-700:]}
            emit(self.output, answer)
        self.drop_warm()

    def on_start(self, request):
        self.setup = setup = Setup(request)
        here = os.path.dirname(os.path.abspath(__file__))
        sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != here]
        for name, value in request.get("env", {}).items():
            os.environ[name] = value
            if name == "PYTHONPATH":
                for part in reversed(value.split(os.pathsep)):
                    sys.path.insert(0, os.path.abspath(part))
        if setup.mode == "script":
            sys.path.insert(0, os.path.dirname(os.path.abspath(setup.argv[0])))
            setup.judge_main(setup.argv[0])
        elif setup.mode in ("unittest", "inline") or setup.module_run:
            sys.path.insert(0, setup.directory if setup.mode != "inline" else "")
        if setup.mode == "shell":
            return {"ready": True, "mode": "shell", "tests": ["command"], "broken": {}}
        if setup.mode == "pytest":
            import pytest  # noqa: F401
            import _pytest.assertion.rewrite  # noqa: F401
        import unittest  # noqa: F401
        import unittest.mock  # noqa: F401
        if setup.mode == "script":
            self.adopt_script()
        if setup.mode in ("pytest", "unittest", "suite"):
            answer = self.start_warm()
            if answer is None and setup.mode == "suite":
                setup.mode = "script"
            elif answer is not None:
                return {"ready": True, "mode": setup.mode, "tests": answer["tests"], "broken": answer["broken"],
                        "witnesses": answer.get("witnesses", []), **self.main_facts()}
            else:
                return {"error": "collection failed"}
        return {"ready": True, "mode": setup.mode, "tests": ["script"], "broken": {}, **self.main_facts()}

    def main_facts(self):
        return {"main": self.setup.main, "mixed": self.setup.mixed, "witness": self.setup.main_witness}

    def adopt_script(self):
        """A script that ends in unittest.main is a suite."""
        try:
            text = self.setup.source(self.setup.main or "").decode("utf-8", "replace")
        except OSError:
            return
        if re.search(r"unittest\.main\(|^\s*main\(\)", text, re.M) and "unittest" in text:
            self.setup.mode = "suite"

    def collect(self, serve):
        if self.setup.mode == "suite":
            script_suite(self.setup, serve)
            run_script(self.setup)
        else:
            with_suite(self.setup, serve)

    def start_warm(self):
        down_r, down_w = os.pipe()
        up_r, up_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(down_w)
                os.close(up_r)
                os.setpgid(0, 0)
                self.collect(Warm(self.setup, down_r, up_w, set()).serve)
            except BaseException:
                try:
                    emit(up_w, {"died": traceback.format_exc()[-1500:]})
                except BaseException:
                    pass
            finally:
                os._exit(3)
        os.close(down_r)
        os.close(up_w)
        self.warm = (pid, down_w, os.fdopen(up_r, "r", encoding="utf-8"))
        answer = self.read_warm(120.0)
        if answer is None or "tests" not in answer:
            self.drop_warm()
            return None
        return answer

    def read_warm(self, timeout):
        stream = self.warm[2]
        if not select.select([stream], [], [], timeout)[0]:
            return None
        line = stream.readline()
        return json.loads(line) if line else None

    def ask_warm(self, request, timeout):
        if self.warm is None:
            return None
        try:
            emit(self.warm[1], request)
            answer = self.read_warm(timeout)
        except OSError:
            answer = None
        if answer is None:
            self.drop_warm()
        return answer

    def drop_warm(self):
        if self.warm is None:
            return
        pid, down, up = self.warm
        self.warm = None
        try:
            os.killpg(pid, signal.SIGKILL)
        except OSError:
            pass
        os.close(down)
        up.close()
        try:
            os.waitpid(pid, 0)
        except OSError:
            pass

    def on_profile(self, request):
        """Everything about the failing program as it stands."""
        setup = self.setup
        if setup.mode == "shell":
            return self.profile_shell(request)
        imported = self.profile_imports(request)
        if self.warm is not None:
            report = self.ask_warm(request, request["budget"] + 3 * request["wall"] + 10)
            if report is None:
                return {"error": "the warm worker died"}
        else:
            report = profile_tests(setup, Suite(setup, ["script"], lambda t, f: run_script(setup), {}), request)
        for rel, lines in imported.items():
            report["imported"][rel] = sorted(set(report["imported"].get(rel, [])) | set(lines))
        setup.times = {t["test"]: t["seconds"] for t in report["tests"] if t["outcome"] != "hang"}
        for name in report.get("modules", []):
            self.preload(name)
        if self.warm is not None:
            emit(self.warm[1], {"op": "times", "times": setup.times, "imported": report["imported"]})
        return report

    def on_times(self, request):
        """Another worker's profile."""
        self.setup.times = request["times"]
        for name in request.get("modules", []):
            self.preload(name)
        if self.warm is not None:
            emit(self.warm[1], {"op": "times", "times": request["times"], "imported": request["imported"]})
        return {"ok": True}

    def preload(self, name):
        if name in sys.modules or self.setup.mode not in ("pytest", "unittest", "suite", "script"):
            return
        try:
            spec = importlib.util.find_spec(name)
            if spec is None or self.setup.relative(spec.origin or "<>") is not None:
                return
            importlib.import_module(name)
        except BaseException:
            pass

    def profile_imports(self, request):
        """Which lines of the workspace run while the tests are imported."""
        if self.warm is None:
            return {}

        def work(out):
            tracer = Tracer(self.setup)
            tracer.start()

            def serve(suite):
                tracer.stop()
                emit(out, {"report": tracer.report({})})
                os._exit(0)

            self.collect(serve)

        lines, _, _ = gather(*forked(work), request["budget"], request["budget"])
        for line in lines:
            if "report" in line:
                return line["report"]["imported"]
        return {}

    def on_run(self, request):
        """A command in a fresh process, on the program with the edits."""
        setup = self.setup
        changed = setup.apply(request["edits"])
        for rel, data in changed.items():
            if rel.endswith(".py"):
                try:
                    compile(data, rel, "exec", dont_inherit=True)
                except (SyntaxError, ValueError, RecursionError):
                    return {"outcome": "invalid"}
        try:
            for rel, data in changed.items():
                setup.write(rel, data)
            return self.shell(request["command"], request["wall"], {})
        finally:
            for rel in changed:
                setup.write(rel, setup.source(rel))

    def shell(self, command, wall, extra):
        """Runs a command to its end or its time."""
        import subprocess
        import tempfile

        env = dict(os.environ, **extra)
        started = time.monotonic()
        with tempfile.TemporaryFile() as sink:
            child = subprocess.Popen(["/bin/sh", "-c", command], cwd=self.setup.directory, env=env, stdin=subprocess.DEVNULL,
                                     stdout=sink, stderr=subprocess.STDOUT, start_new_session=True)
            late = False
            try:
                code = child.wait(wall)
            except subprocess.TimeoutExpired:
                late, code = True, -1
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except OSError:
                pass
            child.wait()
            size = sink.seek(0, os.SEEK_END)
            sink.seek(max(0, size - 12000))
            text = sink.read().decode("utf-8", "replace")
        outcome = "timeout" if late else ("pass" if code == 0 else "fail")
        return {"outcome": outcome, "passed": 1 if outcome == "pass" else 0, "test": "command", "code": code, "message": text[-3000:],
                "seconds": time.monotonic() - started}

    def profile_shell(self, request):
        """Coverage of every Python process the command starts, and what it printed."""
        import tempfile

        folder = tempfile.mkdtemp()
        with open(os.path.join(folder, "sitecustomize.py"), "w") as handle:
            handle.write(SITE)
        path = folder + (os.pathsep + os.environ["PYTHONPATH"] if os.environ.get("PYTHONPATH") else "")
        extra = {"PYTHONPATH": path, "SELFHEAL_TRACE": folder, "SELFHEAL_ROOT": self.setup.prefix}
        answer = self.shell(request["command"], request["wall"], extra)
        spectrum = {}
        for name in os.listdir(folder):
            if name.endswith(".cover"):
                with open(os.path.join(folder, name)) as handle:
                    for line in handle:
                        rel, _, number = line.strip().rpartition(":")
                        rel = self.setup.relative(rel)
                        if rel and not test_like(rel):
                            spectrum.setdefault(rel, {})[number] = [1, 0, 1, 0]
        fault = parse_failure(answer["message"], self.setup)
        hang = answer["outcome"] == "timeout"
        outcome = {"test": "command", "outcome": "pass" if answer["outcome"] == "pass" else ("hang" if hang else "fail"),
                   "seconds": answer["seconds"], "wall": answer["seconds"]}
        if answer["outcome"] != "pass":
            fault["message"] = fault["message"] or answer["message"][-400:]
            outcome.update(fault)
        return {"tests": [outcome], "spectrum": spectrum, "failing": 1, "passing": 0, "imported": {}, "kinds": {}, "modules": [], "left": []}

    def on_try(self, request):
        if self.setup.mode == "shell":
            return self.on_run(request)
        if self.warm is not None and not request.get("cold"):
            answer = self.ask_warm(request, request.get("total", 60.0) + request["wall"] + 5)
            if answer is None:
                answer = {"cold": True}
            if not answer.get("cold"):
                answer["path"] = "hot"
                return answer
        answer = self.cold(request)
        answer["path"] = "cold"
        return answer

    def cold(self, request):
        setup = self.setup
        changed = setup.apply(request["edits"])
        for rel, data in changed.items():
            try:
                compile(data, rel, "exec", dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError):
                return {"outcome": "invalid"}
        try:
            for rel, data in changed.items():
                setup.write(rel, data)

            def work(out):
                limit_child(max(request["cpu"], 1.0) + 2.0 if setup.mode in ("pytest", "unittest", "suite") else 0)

                def serve(suite):
                    run_listed(suite, request["tests"], request.get("all", False), request["cpu"], out)
                    os._exit(0)

                self.collect(serve)

            return judge(forked(work), request)
        finally:
            for rel in changed:
                setup.write(rel, setup.source(rel))

    def on_rebase(self, request):
        """Makes edits part of the program that the search stands on."""
        for rel, data in self.setup.apply(request["edits"]).items():
            self.setup.base[rel] = data
            self.setup.write(rel, data)
        if self.warm is not None:
            self.drop_warm()
            times, lines = self.setup.times, self.setup.import_lines
            if self.start_warm() is None:
                return {"error": "collection failed"}
            emit(self.warm[1], {"op": "times", "times": times, "imported": {}})
        return {"ok": True}


if __name__ == "__main__":
    Worker().loop()
