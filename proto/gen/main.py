"""Reads proto/kap, checks it and writes C into --out: python3 proto/gen/main.py --out DIR [--docs DIR] [--release]."""

import argparse
import os
import sys

import check
import emit_schema
import emit_structs
import emit_tables
import model


def write(directory, name, text):
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as handle:
        handle.write(text)


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--protoc', default='protoc')
    parser.add_argument('--proto', default=here, help='the folder that holds kap/*.proto')
    parser.add_argument('--out', help='where the C goes')
    args = parser.parse_args()
    try:
        schema = model.load(args.protoc, args.proto)
        check.run(schema)
    except model.GenError as error:
        print(f'proto: {error}', file=sys.stderr)
        return 1
    if args.out:
        for file in schema.files:
            name = emit_structs.c_name_of_file(file.name)
            write(args.out, name + '.h', emit_structs.header(schema, file))
            write(args.out, name + '.c', emit_structs.source(schema, file))
        write(args.out, 'kap_schema.h', emit_schema.HEADER)
        write(args.out, 'kap_schema.c', emit_schema.source(schema))
        write(args.out, 'kap_tables.c', emit_tables.source(schema))
    return 0


if __name__ == '__main__':
    sys.exit(main())
