"""Label rules of what has a body: loops, branches, custom derivatives."""

from gamepruning.trace.labels import Analysis, Labels, explain_node
from gamepruning.trace.program import is_inexact, scan_parts
from gamepruning.trace.rules.registry import label_rule
from gamepruning.trace.rules.shape import opaque


@label_rule("scan")
def scan(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """Constants and carries pass into the body; the scanned axis stays whole."""
    num_consts, num_carry = scan_parts(node.params)
    consts = labels[:num_consts]
    carry = labels[num_consts : num_consts + num_carry]
    stacked = labels[num_consts + num_carry :]
    reason = f"it is looped over by {explain_node(node)}"
    for label in stacked:
        analysis.freeze(label[:1], reason)
    (body,) = node.subs
    outs = analysis.run(body, [*consts, *carry, *(label[1:] for label in stacked)])
    for before, after in zip(carry, outs[:num_carry], strict=True):
        analysis.unify_all(before, after)
    one = None if node.params["length"] == 1 else reason
    return [*carry, *((one, *label) for label in outs[num_carry:])]


@label_rule("while")
def while_loop(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """The carry keeps its axes from turn to turn."""
    num_cond, num_body = node.params["cond_nconsts"], node.params["body_nconsts"]
    cond_consts, rest = labels[:num_cond], labels[num_cond:]
    body_consts, carry = rest[:num_body], rest[num_body:]
    condition, body = node.subs
    analysis.run(condition, [*cond_consts, *carry])
    outs = analysis.run(body, [*body_consts, *carry])
    for before, after in zip(carry, outs, strict=True):
        analysis.unify_all(before, after)
    return list(carry)


@label_rule("cond")
def cond(analysis: Analysis, node, index: Labels, *labels: Labels) -> list[Labels]:
    """All branches give results of one shape."""
    outs = [analysis.run(branch, labels) for branch in node.subs]
    for other in outs[1:]:
        for one, two in zip(outs[0], other, strict=True):
            analysis.unify_all(one, two)
    return outs[0]


@label_rule("custom_jvp_call")
def custom_jvp(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """Body and rule: a tangent has the axes of its primal."""
    if not node.subs:
        return opaque(analysis, node, *labels)
    body, rule = node.subs
    outs = analysis.run(body, labels)
    tangents = _inexact(analysis, node.ins, labels)
    out_tangents = analysis.run(rule, [*labels, *tangents])
    for one, two in zip(_inexact(analysis, node.outs, outs), out_tangents, strict=True):
        analysis.unify_all(one, two)
    return outs


@label_rule("custom_vjp_call", "custom_vjp_call_jaxpr")
def custom_vjp(analysis: Analysis, node, *labels: Labels) -> list[Labels]:
    """Body and rule: a cotangent has the axes of its primal."""
    if not node.subs:
        return opaque(analysis, node, *labels)
    body, rule = node.subs
    outs = analysis.run(body, labels)
    cotangents = _inexact(analysis, node.outs, outs)
    gradients = analysis.run(rule, [*labels, *cotangents])
    for one, two in zip(_inexact(analysis, node.ins, labels), gradients, strict=True):
        analysis.unify_all(one, two)
    return outs


def _inexact(analysis: Analysis, operands, labels) -> list[Labels]:
    return [
        label
        for operand, label in zip(operands, labels, strict=True)
        if is_inexact(analysis.program.aval(operand))
    ]
