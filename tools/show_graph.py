#!/usr/bin/python3
"""Prints the reply of session.graph (JSON on standard input) as a tree: rows come flat, parents are named in them."""
import json
import sys


def label(kind, row):
    text = row.get("title") or row.get("description", "")
    minutes = f"  {row['duration']} min" if "duration" in row else ""
    return f"{kind}: {text[:70]}{minutes}"


def main():
    reply = json.load(sys.stdin)
    children, roots = {}, []
    for typed in reply.get("rows", []):
        kind, row = typed["kind"], typed["row"]
        parent = {"sequence": "session", "exercise": "sequence", "variation": "exercise", "objective": "parent"}.get(kind)
        if parent:
            children.setdefault(row.get(parent), []).append((kind, row))
        elif kind == "session":
            roots.append((kind, row))

    def show(kind, row, depth):
        print("  " * depth + label(kind, row))
        order = {"objective": 0, "variation": 1, "exercise": 1, "sequence": 2}
        parts = children.get(row["sys"]["id"], [])
        for child in sorted(parts, key=lambda part: (order.get(part[0], 9), part[1].get("position", 0))):
            show(*child, depth + 1)

    for root in roots:
        show(*root, 1)
    head = reply.get("head", {})
    print(f"  tree_rev {head.get('tree_rev')}, {len(reply.get('rows', []))} rows, snapshot {reply.get('commit_seq')}")


if __name__ == "__main__":
    main()
