#!/usr/bin/python3
"""The rules of the house that a compiler does not check.

Layers  the order of subdir() lines in the meson.build files is the order of layers: a file includes only from lower
        folders and its own. wal, memtable and segment never see each other. Generated headers count as proto/.
Seam    engine/, proto/ and server/ reach the system only through engine/env/: files, threads, clocks, entropy, memory.
Text    no leftover markers, no file over 1000 lines, no trailing blanks.

Prints every offence as path:line: rule; exits 1 when there is one.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SUBDIR = re.compile(r"^\s*subdir\('([^']+)'\)", re.M)
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
SIBLINGS = ("engine/wal", "engine/memtable", "engine/segment")

FORBIDDEN = re.compile(
    r"(?<![\w.>])(open|openat|creat|read|pread|pwrite|write|fsync|fdatasync|rename|renameat|unlink|unlinkat|mkdir|rmdir|link|"
    r"ftruncate|flock|stat|fstat|statvfs|opendir|readdir|mmap|fopen|fread|fwrite|"
    r"pthread_\w+|sem_\w+|clock_gettime|gettimeofday|time|nanosleep|usleep|sleep|"
    r"rand|random|srand|getrandom|arc4random\w*|malloc|calloc|realloc|reallocarray|strdup|strndup|asprintf|"
    r"io_uring_\w+)\s*\(")
# Who may: the seam itself, the allocator under it, the log's default sink, and the one file that speaks io_uring for
# sockets with the one that opens them.
MAY = {
    "engine/base/memory.c": {"calloc", "realloc"},
    "engine/base/log.c": {"clock_gettime"},
    "server/loop.c": None,
    "server/loop_socket.c": None,
    "server/listener.c": None,
    "server/main.c": None,
}
# A client library lives in other people's processes: it has no environment to go through.
FREE = ("proto/clients/",)
MARKERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def layers():
    """Folder -> rank, from the subdir() lines, depth first."""
    order = []

    def walk(folder):
        build = ROOT / folder / "meson.build"
        if not build.exists():
            return
        for name in SUBDIR.findall(build.read_text()):
            child = f"{folder}/{name}" if folder else name
            walk(child)
            order.append(child)

    walk("")
    return {folder: rank for rank, folder in enumerate(order)}


def folder_of(path, ranks):
    """The deepest known folder that holds path."""
    folder = path.rpartition("/")[0]
    while folder and folder not in ranks:
        folder = folder.rpartition("/")[0]
    return folder


def strip(text):
    """Comments and string contents blanked, line numbers kept."""
    def blank(match):
        token = match.group(0)
        return re.sub(r"[^\n]", " ", token) if token.startswith("/") else '""'

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def check_includes(path, text, ranks, offences):
    own = folder_of(path, ranks)
    if own.startswith("tests"):  # tests are above everything and see it all
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(1)
        if not (ROOT / target).exists():
            target_folder = "proto" if "proto" in target or target.startswith("kap") else own
        else:
            target_folder = folder_of(target, ranks)
        if target_folder == own or target_folder not in ranks or own not in ranks:
            continue
        if ranks[target_folder] > ranks[own]:
            offences.append(f"{path}:{number}: {own} includes {target}, which is above it")
        if own in SIBLINGS and target_folder in SIBLINGS:
            offences.append(f"{path}:{number}: {own} and {target_folder} meet only through cursor.h")


def check_seam(path, text, offences):
    if not path.startswith(("engine/", "proto/", "server/")) or path.startswith(("engine/env/", "proto/clients/")):
        return
    if path.startswith(FREE):
        return
    allowed = MAY.get(path, set())
    if allowed is None:
        return
    for number, line in enumerate(strip(text).splitlines(), 1):
        for match in FORBIDDEN.finditer(line):
            if match.group(1) not in allowed and not re.match(r"\s*#", line):
                offences.append(f"{path}:{number}: {match.group(1)}() outside engine/env")


def check_text(path, text, offences):
    lines = text.splitlines()
    if len(lines) > 1000 and path.endswith((".c", ".h", ".py")):
        offences.append(f"{path}: {len(lines)} lines; which second idea moved in?")
    for number, line in enumerate(lines, 1):
        if line != line.rstrip() and not path.endswith(".md"):
            offences.append(f"{path}:{number}: trailing blanks")
        if MARKERS.search(line) and path != "tests/tidy.py":
            offences.append(f"{path}:{number}: leftover marker")


def main():
    ranks = layers()
    offences = []
    for folder in ("engine", "proto", "server", "tools", "bench", "tests"):
        for file in sorted((ROOT / folder).rglob("*")):
            path = file.relative_to(ROOT).as_posix()
            if file.suffix not in (".c", ".h", ".py", ".def", ".proto") or "__pycache__" in path:
                continue
            text = file.read_text()
            check_text(path, text, offences)
            if file.suffix in (".c", ".h"):
                check_includes(path, text, ranks, offences)
                check_seam(path, text, offences)
    print("\n".join(offences))
    print(f"tidy: {len(offences)} offences over {len(ranks)} folders")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
