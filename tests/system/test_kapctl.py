#!/usr/bin/python3
"""kapctl against a store that a kapd has written: inspect of every kind of file, verify of a whole and a damaged one.

usage: test_kapctl.py KAPD KAP KAPCTL
"""
import glob
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

KAPD, KAP, KAPCTL = sys.argv[1:4]


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, **more)


class Daemon:
    """A kapd on a directory; its socket stands in it."""

    def __init__(self, directory):
        self.url = f"kap+unix://{directory}/kapd.sock"
        self.process = subprocess.Popen([KAPD, "-D", directory, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.ready = self.process.stdout.readline()

    def call(self, op, body="{}"):
        done = run(KAP, "-u", self.url, "call", op, body)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.process.stdout.close()


def user(number):
    return json.dumps({"user": {"email": f"u{number}@example.org", "roles": ["coach"]},
                       "profile": {"full_name": f"User {number}"}})


def digest(directory):
    """Every file but the lock, and what is in it."""
    files = sorted(path for path in pathlib.Path(directory).rglob("*") if path.is_file() and path.name != "lock")
    return [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


class Kapctl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = tempfile.mkdtemp(prefix="kapctl-")
        cls.directory = os.path.join(cls.base, "data")
        blob = os.path.join(cls.base, "blob")
        pathlib.Path(blob).write_bytes(os.urandom(1500000))
        daemon = Daemon(cls.directory)
        try:
            for number in range(40):
                daemon.call("user.create", user(number))
            assert run(KAP, "-u", daemon.url, "blob", "put", blob).returncode == 0
            daemon.call("snapshot.create", '{"name": "first"}')
            for number in range(40, 45):
                daemon.call("user.create", user(number))
            cls.busy = run(KAPCTL, "verify", cls.directory)
        finally:
            daemon.stop()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.base)

    def one(self, pattern):
        return sorted(glob.glob(os.path.join(self.directory, pattern)))[0]

    def inspect(self, path, *options):
        done = run(KAPCTL, "-o", "json", "inspect", path, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def live_log(self):
        for path in sorted(glob.glob(os.path.join(self.directory, "wal-*.log"))):
            if "frame_no" in self.inspect(path)["frames"][0]:
                return path
        return self.fail("no log file holds a frame")

    def damaged(self, pattern_or_path, offset):
        """verify of a copy with one bit of one file turned over: exit 5 and the file's name."""
        path = pattern_or_path if os.path.isabs(pattern_or_path) else self.one(pattern_or_path)
        copy = os.path.join(self.base, "copy")
        shutil.copytree(self.directory, copy, ignore=shutil.ignore_patterns("*.sock"))
        try:
            flip(os.path.join(copy, os.path.relpath(path, self.directory)), offset)
            before = digest(copy)
            done = run(KAPCTL, "verify", copy)
            self.assertEqual(done.returncode, 5, done.stdout + done.stderr)
            damage = [line for line in done.stdout.splitlines() if line.startswith("damage: ")]
            self.assertTrue(damage and all(os.path.basename(path) in line for line in damage), done.stdout)
            self.assertEqual(digest(copy), before)
        finally:
            shutil.rmtree(copy)

    def test_verify_says_ok_and_changes_nothing(self):
        before = digest(self.directory)
        done = run(KAPCTL, "verify", self.directory)
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (0, "ok"), done.stdout + done.stderr)
        self.assertIn("1 blobs, 2 chunks, 1500000 bytes", done.stdout)
        self.assertEqual(digest(self.directory), before)

    def test_verify_of_a_snapshot(self):
        done = run(KAPCTL, "-o", "json", "verify", os.path.join(self.directory, "snapshots/first"))
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(json.loads(done.stdout)["verdict"], "ok")

    def test_verify_leaves_a_running_store_alone(self):
        self.assertEqual(self.busy.returncode, 1)
        self.assertIn("a kapd runs on", self.busy.stderr)

    def test_verify_of_what_is_no_store(self):
        self.assertEqual(run(KAPCTL, "verify", os.path.join(self.base, "nothing")).returncode, 1)
        empty = os.path.join(self.base, "empty")
        os.mkdir(empty)
        done = run(KAPCTL, "verify", empty)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no kap store", done.stderr)

    def test_damage_of_a_segment_block(self):
        self.damaged("seg-*.kap", 100)

    def test_damage_of_a_segment_footer(self):
        path = self.one("seg-*.kap")
        self.damaged(path, os.path.getsize(path) - 200)

    def test_damage_of_the_log(self):
        self.damaged(self.live_log(), 120)  # the first frame: nothing can be replayed
        self.damaged(self.live_log(), self.inspect(self.live_log())["frames"][1]["offset"] + 120)

    def test_damage_of_the_manifest(self):
        self.damaged("manifest-*", 100)

    def test_damage_of_the_superblock(self):
        self.damaged("superblock", 40)

    def test_damage_of_a_pack_piece_and_header(self):
        self.damaged("blobs/pack-*.blob", 70000)
        self.damaged("blobs/pack-*.blob", 30)

    def test_damage_of_a_missing_segment(self):
        copy = os.path.join(self.base, "missing")
        shutil.copytree(self.directory, copy, ignore=shutil.ignore_patterns("*.sock"))
        name = os.path.basename(self.one("seg-*.kap"))
        os.unlink(os.path.join(copy, name))
        done = run(KAPCTL, "verify", copy)
        self.assertEqual(done.returncode, 5)
        self.assertIn(name, done.stdout)

    def test_inspect_superblock_and_manifest(self):
        copies = self.inspect(self.one("superblock"))["copies"]
        self.assertEqual([copy["state"] for copy in copies], ["whole"] * 4)
        records = self.inspect(self.one("manifest-*"))["records"]
        self.assertEqual(records[0]["edit_no"], 1)
        self.assertTrue(any(record.get("note") == "add" for record in records))

    def test_inspect_log(self):
        frames = self.inspect(self.live_log())["frames"]
        self.assertEqual([frame["frame_no"] for frame in frames[:2]], [1, 2])

    def test_inspect_segment_with_entries(self):
        path = self.one("seg-*.kap")
        trees = self.inspect(path)["trees"]
        self.assertIn("rows", [tree["relation"] for tree in trees])
        document = self.inspect(path, "--entries")
        self.assertEqual(len(document["entries"]), document["footer"]["entries"])
        self.assertTrue(any('"full_name":"User 7"' in entry["value"] for entry in document["entries"]))
        self.assertEqual(len(self.inspect(path, "--entries=3")["entries"]), 3)

    def test_inspect_pack_and_snapshot(self):
        chunks = self.inspect(self.one("blobs/pack-*.blob"))["chunks"]
        self.assertEqual([(chunk["bytes"], chunk["state"]) for chunk in chunks], [(1048576, "whole"), (451424, "whole")])
        self.assertGreater(self.inspect(self.one("snapshots/first/info"))["snapshot"][0]["commit_seq"], 40)

    def test_inspect_directory(self):
        document = self.inspect(self.directory)
        rows = {row["relation"]: row for row in document["relations"]}
        self.assertEqual(rows["profile_by_user"]["entries"], 40)
        self.assertEqual(sum(level["entries"] for level in document["levels"]),
                         sum(row["entries"] for row in rows.values()))
        table = run(KAPCTL, "inspect", self.directory)
        self.assertIn("relations\nrelation", table.stdout)

    def test_usage(self):
        done = run(KAPCTL, "inspekt")
        self.assertEqual(done.returncode, 2)
        self.assertIn('did you mean "inspect"', done.stderr)
        self.assertEqual(run(KAPCTL, "verify").returncode, 2)
        self.assertLessEqual(len(run(KAPCTL, "--help").stdout.splitlines()), 24)


class Online(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = tempfile.mkdtemp(prefix="kapctl-")
        cls.daemon = Daemon(os.path.join(cls.base, "data"))
        cls.daemon.call("user.create", user(1))

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()
        shutil.rmtree(cls.base)

    def ask(self, *words, code=0):
        done = run(KAPCTL, "-u", self.daemon.url, "-o", "json", *words)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout) if done.stdout else None

    def test_status(self):
        document = self.ask("status")
        self.assertEqual(document["state"], "ready")
        self.assertGreaterEqual(document["commits"]["durable_seq"], 1)
        self.assertLess(document["uptime_s"], 60)
        self.assertGreater(document["cache"]["budget_bytes"], 2 ** 20)
        self.assertIn("hits", document["cache"])
        self.assertGreaterEqual(document["log"]["files_live"], 1)
        self.ask("compaction", "run", "--wait")
        levels = {name: part for name, part in self.ask("status").items() if name.startswith("level")}
        self.assertGreater(sum(part["bytes"] for part in levels.values()), 0)
        self.assertIn("\ncommits\nhead_seq", run(KAPCTL, "-u", self.daemon.url, "status").stdout)

    def test_snapshots(self):
        names = lambda: [card["name"] for card in self.ask("snapshot", "list").get("snapshots", [])]
        self.ask("snapshot", "create", "one")
        self.assertEqual(names(), ["one"])
        self.ask("snapshot", "delete", "one", "--dry-run")
        self.assertEqual(names(), ["one"])
        self.ask("snapshot", "delete", "one")
        self.assertEqual(names(), [])
        self.ask("snapshot", "delete", "one", code=1)

    def test_tokens(self):
        made = self.ask("token", "create", "--name", "t", "--role", "ops", "--expires", "90d")
        self.assertTrue(made["token"].startswith("kap_"))
        ids = lambda: [card["id"] for card in self.ask("token", "list")["tokens"]]
        self.assertIn(made["id"], ids())
        self.ask("token", "revoke", made["id"], "--dry-run")
        self.assertIn(made["id"], ids())
        self.ask("token", "revoke", made["id"])
        self.assertNotIn(made["id"], ids())
        self.ask("token", "create", "--name", "t", "--role", "ops", "--expires", "soon", code=2)

    def test_compaction(self):
        self.assertTrue(self.ask("compaction", "run", "--wait")["started"])
        self.assertFalse(self.ask("compaction", "run", "--dry-run")["started"])
        self.assertEqual(len(self.ask("compaction", "status")["stats"]), 4)

    def test_doctor(self):
        checks = {row["check"]: row["result"] for row in self.ask("doctor")["checks"]}
        self.assertEqual((checks["io_uring"], checks["server"], checks["directory"]), ("ok", "ok", "ok"))
        nobody = run(KAPCTL, "-u", "kap+unix:///nowhere/kapd.sock", "doctor")
        self.assertEqual(nobody.returncode, 1)
        self.assertIn("start kapd", nobody.stdout)

    def test_exit_codes(self):
        self.assertEqual(run(KAPCTL, "-u", "kap+unix:///nowhere/kapd.sock", "status").returncode, 3)
        address = self.daemon.ready.split("tcp=")[1].split()[0]
        environment = {name: value for name, value in os.environ.items() if name != "KAP_TOKEN_FILE"}
        self.assertEqual(run(KAPCTL, "-u", "kap://" + address, "status", env=environment).returncode, 4)
        self.assertEqual(run(KAPCTL, "-u", self.daemon.url, "snapshot").returncode, 2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
