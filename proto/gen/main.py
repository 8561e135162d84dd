"""Reads proto/kap, checks it against its rules and the last release, and writes C (--out) or the reference (--docs).

  python3 proto/gen/main.py --out DIR        C for the build
  python3 proto/gen/main.py --docs DIR       docs/reference; with --fresh only says whether it is current
  python3 proto/gen/main.py --release        makes proto/kap/released.json what is there now"""

import argparse
import os
import sys

import check
import emit_docs
import emit_schema
import emit_structs
import emit_tables
import evolve
import model


def write(directory, name, text):
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as handle:
        handle.write(text)


def write_c(schema, out):
    for file in schema.files:
        name = emit_structs.c_name_of_file(file.name)
        write(out, name + '.h', emit_structs.header(schema, file))
        write(out, name + '.c', emit_structs.source(schema, file))
    write(out, 'kap_schema.h', emit_schema.HEADER)
    write(out, 'kap_schema.c', emit_schema.source(schema))
    write(out, 'kap_tables.c', emit_tables.source(schema))


def stale_pages(schema, docs):
    stale = []
    for name, text in emit_docs.pages(schema).items():
        path = os.path.join(docs, name)
        current = None
        if os.path.exists(path):
            with open(path, encoding='utf-8') as handle:
                current = handle.read()
        if current != text:
            stale.append(name)
    return stale


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--protoc', default='protoc')
    parser.add_argument('--proto', default=here, help='the folder that holds kap/*.proto')
    parser.add_argument('--out')
    parser.add_argument('--docs')
    parser.add_argument('--fresh', action='store_true')
    parser.add_argument('--release', action='store_true')
    args = parser.parse_args()
    lock = os.path.join(args.proto, 'kap', 'released.json')
    try:
        schema = model.load(args.protoc, args.proto)
        check.run(schema)
        released = evolve.load(lock)
        if released is not None:
            evolve.check(schema, released)
    except model.GenError as error:
        print(f'proto: {error}', file=sys.stderr)
        return 1
    if args.out:
        write_c(schema, args.out)
    if args.docs and args.fresh:
        stale = stale_pages(schema, args.docs)
        if stale:
            print(f'proto: {", ".join(stale)} not current; run ninja reference', file=sys.stderr)
            return 1
    elif args.docs:
        for name, text in emit_docs.pages(schema).items():
            write(args.docs, name, text)
    if args.release:
        evolve.save(lock, schema)
    return 0


if __name__ == '__main__':
    sys.exit(main())
