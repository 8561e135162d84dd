"""kap_tables.c: the list of messages, the request types, the rights."""

from model import Schema

# A request names the lowest role that may send it; this is who else may. Numbers of enum Role.
VIEWER, COACH, EXPERT, CURATOR, ADMIN, OPS, SERVICE, AUDITOR = range(1, 9)
FOLLOWS = {
    VIEWER: {VIEWER, COACH, EXPERT, CURATOR, ADMIN, SERVICE},
    COACH: {COACH, EXPERT, CURATOR, ADMIN, SERVICE},
    EXPERT: {EXPERT, ADMIN},
    CURATOR: {CURATOR, ADMIN},
    ADMIN: {ADMIN},
    OPS: {OPS, ADMIN},
    SERVICE: {SERVICE, ADMIN},
    AUDITOR: {AUDITOR, ADMIN},
}
EVERYONE = set(FOLLOWS)
CHECK_NONE_BEFORE_LOGIN = 1


def roles_of(request):
    """Every role that may, as a set of numbers."""
    if request.access.check == CHECK_NONE_BEFORE_LOGIN:
        return EVERYONE
    return set().union(*(FOLLOWS[r] for r in request.role)) if request.role else set()


def c_bool(value):
    return 'true' if value else 'false'


def op_lines(schema):
    lines = ['const struct kap_op_desc kap_ops[] = {']
    for method in sorted(schema.methods, key=lambda m: m.options.op):
        o = method.options
        mask = sum(1 << r for r in roles_of(o))
        lines.append(
            f'    {{.op = {o.op}, .check = {o.access.check}, .kind = {o.access.kind}, .roles = 0x{mask:03x}, '
            f'.since = {o.since}, .write = {c_bool(o.write)}, .idempotent = {c_bool(o.idempotent)}, '
            f'.stream = {c_bool(o.stream)}, .name = "{schema.op_name(o.op)}", '
            f'.request = &{method.request.c_name}_msg, .reply = &{method.reply.c_name}_msg}},')
    return lines + ['};', 'const size_t kap_n_ops = KAP_ARRAY_LEN(kap_ops);', '']


def rule_init(rule):
    text = f'{{.who = {rule.who}, .who_field = {rule.who_field}'
    tests = []
    for when in rule.when:
        test = f'{{.test = {when.test}, .field = {when.field}'
        if when.values:
            test += f', .n_values = {len(when.values)}, .values = {{{", ".join(map(str, when.values))}}}'
        tests.append(test + '}')
    if tests:
        text += f', .tests = {{{", ".join(tests)}}}'
    return '    ' + text + '},'


def rights_lines(schema):
    lines, table = [], []
    for message in schema.entities:
        for verb in ('read', 'write'):
            rules = getattr(message.entity, verb)
            if rules:
                lines.append(f'static const struct kap_rule {message.snake}_{verb}[] = {{')
                lines += [rule_init(r) for r in rules]
                lines.append('};')
        def pieces(verb):
            rules = getattr(message.entity, verb)
            return f'.n_{verb} = {len(rules)}' + (f', .{verb} = {message.snake}_{verb}' if rules else '')
        table.append(f'    {{.kind = {message.entity.kind}, {pieces("read")}, {pieces("write")}}},')
    return (lines + ['const struct kap_kind_rights kap_rights[] = {'] + table
            + ['};', 'const size_t kap_n_rights = KAP_ARRAY_LEN(kap_rights);', ''])


def source(schema: Schema):
    lines = ['/* kap_tables.c - generated from proto/kap by proto/gen; do not edit. */', '',
             '#include "engine/base/assert.h"', '#include "proto/kap_entities.h"', '#include "proto/kap_requests.h"',
             '#include "proto/ops.h"', '#include "proto/rights.h"', '']
    lines.append('const struct kap_msg *const kap_messages[] = {')
    lines += [f'    &{m.c_name}_msg,' for m in sorted(schema.messages, key=lambda m: m.name)]
    lines += ['};', 'const size_t kap_n_messages = KAP_ARRAY_LEN(kap_messages);', '']
    return '\n'.join(lines + op_lines(schema) + rights_lines(schema))
