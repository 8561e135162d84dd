"""A schema that breaks a rule does not build, and the message says which: each case changes one line of the real files.

usage: test_rules.py"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
MAIN = os.path.join(ROOT, 'proto', 'gen', 'main.py')


class Rules(unittest.TestCase):
    def generate(self, changes):
        """changes: [(file, pattern, replacement)]; returns (exit code, what was said)."""
        with tempfile.TemporaryDirectory() as work:
            shutil.copytree(os.path.join(ROOT, 'proto', 'kap'), os.path.join(work, 'kap'))
            for name, pattern, replacement in changes:
                path = os.path.join(work, 'kap', name)
                with open(path, encoding='utf-8') as handle:
                    text = handle.read()
                text, n = re.subn(pattern, replacement, text, count=1, flags=re.S)
                self.assertEqual(n, 1, f'nothing to change: {pattern}')
                with open(path, 'w', encoding='utf-8') as handle:
                    handle.write(text)
            run = subprocess.run([sys.executable, MAIN, '--proto', work], capture_output=True, text=True, check=False)
            return run.returncode, run.stderr

    def refused(self, text, *changes):
        code, said = self.generate(changes)
        self.assertEqual(code, 1, said)
        self.assertIn(text, said)

    def test_the_schema_as_it_is_builds(self):
        self.assertEqual(self.generate([]), (0, ''))

    def test_a_new_optional_field_and_a_raised_limit_are_free(self):
        code, said = self.generate([
            ('entities.proto', r'optional string color = 3 ',
             'optional string icon = 4 [(field) = {max_bytes: 64}];\n  optional string color = 3 '),
            ('entities.proto', r'(string caption = 3 \[\(field\) = \{max_bytes: )200', r'\g<1>400')])
        self.assertEqual((code, said), (0, ''))

    def test_a_cascade_needs_its_index(self):
        self.refused('Variation.exercise: on_delete needs the index', (
            'entities.proto', r'index: \{id: INDEX_VARIATION_BY_EXERCISE, parent: \{field: 2\}, order: \{field: 3\}\}', ''))

    def test_restrict_needs_a_count(self):
        self.refused('must be counted', (
            'entities.proto', r'(INDEX_EXERCISE_BY_SOURCE, parent: \{field: 29\}), counted: true', r'\1'))

    def test_a_covering_entry_holds_what_the_read_rules_ask(self):
        self.refused('must cover club', (
            'entities.proto', r'cover: \[2, 3, 4, 7, 8, 9, 11, 25, 26\]', 'cover: [2, 4, 7, 8, 9, 11, 25, 26]'))

    def test_an_operation_needs_an_access_rule_and_a_role(self):
        self.refused('RowService.Delete: no access rule', (
            'requests.proto', r'(op: OP_ROW_DELETE, role: ROLE_COACH, write: true), access: \{check: CHECK_ROW_WRITE\}', r'\1'))
        self.refused('RowService.Delete: no role', (
            'requests.proto', r'op: OP_ROW_DELETE, role: ROLE_COACH', 'op: OP_ROW_DELETE'))

    def test_text_and_lists_need_limits(self):
        self.refused('Tag.color: text and bytes need max_bytes', (
            'entities.proto', r'string color = 3 \[\(field\) = \{max_bytes: 16\}\]', 'string color = 3'))
        self.refused('a list needs max_items', (
            'entities.proto', r'repeated Role roles = 4 \[\(field\) = \{max_items: 8\}\]', 'repeated Role roles = 4'))

    def test_scalars_are_optional(self):
        self.refused('write `optional`', ('entities.proto', r'optional string color = 3', 'string color = 3'))

    def test_the_names_of_c_members_do_not_collide(self):
        self.refused('would collide', ('entities.proto', r'optional string color = 3', 'optional string unknown = 3'))

    def test_released_numbers_keep_their_name_and_type(self):
        self.refused('Tag.color: field 3 is called colour now', (
            'entities.proto', r'string color = 3', 'string colour = 3'))
        self.refused('type of field 3 changed', (
            'entities.proto', r'optional string color = 3 \[\(field\) = \{max_bytes: 16\}\]', 'optional uint32 color = 3'))

    def test_a_removed_field_is_reserved(self):
        self.refused('Profile.phone: removed without `reserved 10`', (
            'entities.proto', r'optional string phone = 10 \[\(field\) = \{max_bytes: 32\}\];', ''))
        code, said = self.generate([(
            'entities.proto', r'optional string phone = 10 \[\(field\) = \{max_bytes: 32\}\];', 'reserved 10;')])
        self.assertEqual((code, said), (0, ''))

    def test_released_limits_are_only_raised(self):
        self.refused('Media.caption: max_bytes was lowered', (
            'entities.proto', r'(string caption = 3 \[\(field\) = \{max_bytes: )200', r'\g<1>100'))
        self.refused('Media.role: became required', (
            'entities.proto', r'optional MediaRole role = 2;', 'optional MediaRole role = 2 [(field) = {required: true}];'))

    def test_a_new_field_of_a_request_is_not_required(self):
        self.refused('cannot be required', (
            'requests.proto', r'(message PingRequest \{)', r'\1 optional uint32 n = 2 [(field) = {required: true}];'))

    def test_a_changed_index_definition_takes_a_new_number(self):
        self.refused('index 1 (session_by_owner): its definition changed', (
            'entities.proto', r'(INDEX_SESSION_BY_OWNER, parent: \{field: 2\}, order: \{sys: 3), descending: true', r'\1'))
        self.refused('unique key 9 (tag_name): its definition changed', (
            'entities.proto', r'(UNIQUE_TAG_NAME, parts: )\{field: 2\}', r'\1[{field: 2}, {field: 3}]'))

    def test_enum_values_kinds_and_operations_stay(self):
        self.refused('enum Force: 3 was push and is shove', (
            'entities.proto', r'FORCE_PUSH = 3', 'FORCE_SHOVE = 3'))
        self.refused('enum Force: push = 3 removed without', ('entities.proto', r'FORCE_PUSH = 3;', ''))
        self.refused('kind 26: its message, group or root changed', (
            'entities.proto', r'kind: KIND_TAG, group: GROUP_GRAPH', 'kind: KIND_TAG, group: GROUP_PRIVATE'))
        self.refused('op 1001 (server.status): its name or messages changed', (
            'requests.proto', r'rpc Status\(ServerStatusRequest\) returns \(ServerStatusReply\)',
            'rpc Status(ServerStatusRequest) returns (PingReply)'))


if __name__ == '__main__':
    unittest.main()
