"""Gradient descent of a network with one hidden layer, compiled: the hidden layer is never stored.

Two classes: the cross-entropy depends on the difference of the two logits alone, and the gradient of one logit is that
of the other with the sign turned. With pre-activations q = w·(x, y) + b, d the derivative of the loss by the second
logit, and g = d where q > 0 and else 0, everything follows from three sums over the batch for every node: of g, g·x and
g·y. The gradient of the output's weight is Σ d·relu(q) = w·(Σ g·x, Σ g·y) + b·Σ g; that of w and b is u times the sums,
u being the difference of the output's weights. A pair of point and node costs a few instructions in registers.

All numbers are float32. The order of all additions is fixed and no operation is fused: the same on every processor, but
for the exponential, which is that of the C library.
"""

import numpy as np

from molino.transforms.compiled import compiler

compiled = compiler(error_model="numpy")

ZERO, ONE = np.float32(0), np.float32(1)
NODES = 512  # at a time: their weights and sums stay in the first-level cache


@compiled
def margins(x, y, w, b, v, c, out):
    """Write the second logit less the first of every point to `out`.

    `x`, `y`, `out`: (n,) float32. `w`, `b`: (2, h) and (h,) float32, into the hidden layer. `v`, `c`: (h, 2) and (2,)
    float32, out of it.
    """
    out[:] = c[1] - c[0]
    h = b.size
    for j in range(0, h - 3, 4):
        a0, a1, a2, a3 = w[0, j], w[0, j + 1], w[0, j + 2], w[0, j + 3]
        b0, b1, b2, b3 = w[1, j], w[1, j + 1], w[1, j + 2], w[1, j + 3]
        c0, c1, c2, c3 = b[j], b[j + 1], b[j + 2], b[j + 3]
        u0, u1 = v[j, 1] - v[j, 0], v[j + 1, 1] - v[j + 1, 0]
        u2, u3 = v[j + 2, 1] - v[j + 2, 0], v[j + 3, 1] - v[j + 3, 0]
        for i in range(x.size):
            q0 = a0 * x[i] + b0 * y[i] + c0
            q1 = a1 * x[i] + b1 * y[i] + c1
            q2 = a2 * x[i] + b2 * y[i] + c2
            q3 = a3 * x[i] + b3 * y[i] + c3
            r0 = q0 if q0 > ZERO else ZERO
            r1 = q1 if q1 > ZERO else ZERO
            r2 = q2 if q2 > ZERO else ZERO
            r3 = q3 if q3 > ZERO else ZERO
            out[i] += (u0 * r0 + u1 * r1) + (u2 * r2 + u3 * r3)
    for j in range(h - h % 4, h):
        a, bb, cc, u = w[0, j], w[1, j], b[j], v[j, 1] - v[j, 0]
        for i in range(x.size):
            q = a * x[i] + bb * y[i] + cc
            out[i] += u * (q if q > ZERO else ZERO)


@compiled
def _add_sums(x, y, d, s, nodes):
    """Set the sums over the points of every node of a block.

    One array holds all that belongs to nodes, so that the compiler can see that nothing overlaps, and uses vectors.
    `x`, `y`, `d`: (n,) float32. `s`: (6 * NODES,) float32: w of x, w of y, b, then the sums of g, g*x and g*y, each
    NODES long. `nodes`: of the block.
    """
    n = x.size
    s[3 * NODES :] = ZERO
    for i in range(0, n - 3, 4):
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        y0, y1, y2, y3 = y[i], y[i + 1], y[i + 2], y[i + 3]
        d0, d1, d2, d3 = d[i], d[i + 1], d[i + 2], d[i + 3]
        for j in range(nodes):
            wx, wy, b = s[j], s[NODES + j], s[2 * NODES + j]
            g0 = d0 if wx * x0 + wy * y0 + b > ZERO else ZERO
            g1 = d1 if wx * x1 + wy * y1 + b > ZERO else ZERO
            g2 = d2 if wx * x2 + wy * y2 + b > ZERO else ZERO
            g3 = d3 if wx * x3 + wy * y3 + b > ZERO else ZERO
            s[3 * NODES + j] += (g0 + g1) + (g2 + g3)
            s[4 * NODES + j] += (g0 * x0 + g1 * x1) + (g2 * x2 + g3 * x3)
            s[5 * NODES + j] += (g0 * y0 + g1 * y1) + (g2 * y2 + g3 * y3)
    for i in range(n - n % 4, n):
        for j in range(nodes):
            g = d[i] if s[j] * x[i] + s[NODES + j] * y[i] + s[2 * NODES + j] > ZERO else ZERO
            s[3 * NODES + j] += g
            s[4 * NODES + j] += g * x[i]
            s[5 * NODES + j] += g * y[i]


@compiled
def descend(x, y, label, w, b, v, c, batch, steps, rate, l2):  # noqa: PLR0913  a compiled kernel
    """Take some steps at one rate, in place; return the cross-entropy before the first of them.

    `x`, `y`, `label`: (n,) float32, the training points in order; labels are 0 or 1. `w`, `b`, `v`, `c`: as in
    `margins`; changed. The `batch` points of step s begin at s * batch mod (n - batch). `rate`, `l2`: float32.
    """
    h = b.size
    t = np.empty(batch, np.float32)
    s = np.empty(6 * NODES, np.float32)
    share = ONE / np.float32(batch)
    loss = 0.0
    for step in range(steps[0], steps[1]):
        offset = step * batch % (x.size - batch)
        px, py, pl = x[offset : offset + batch], y[offset : offset + batch], label[offset : offset + batch]
        margins(px, py, w, b, v, c, t)
        if step == steps[0]:
            for i in range(batch):
                loss += max(t[i], ZERO) - pl[i] * t[i] + np.log1p(np.exp(-abs(t[i])))
        total = ZERO
        for i in range(batch):
            e = np.exp(-abs(t[i]))
            p = ONE / (ONE + e) if t[i] >= ZERO else e / (ONE + e)
            t[i] = (p - pl[i]) * share
            total += t[i]
        for first in range(0, h, NODES):
            nodes = min(NODES, h - first)
            s[:nodes] = w[0, first : first + nodes]
            s[NODES : NODES + nodes] = w[1, first : first + nodes]
            s[2 * NODES : 2 * NODES + nodes] = b[first : first + nodes]
            _add_sums(px, py, t, s, nodes)
            for k in range(nodes):
                j = first + k
                g, gx, gy = s[3 * NODES + k], s[4 * NODES + k], s[5 * NODES + k]
                u = v[j, 1] - v[j, 0]
                out = w[0, j] * gx + w[1, j] * gy + b[j] * g
                w[0, j] -= rate * (u * gx + l2 * w[0, j])
                w[1, j] -= rate * (u * gy + l2 * w[1, j])
                b[j] -= rate * (u * g)
                v[j, 0] -= rate * (l2 * v[j, 0] - out)
                v[j, 1] -= rate * (l2 * v[j, 1] + out)
        c[0] += rate * total
        c[1] -= rate * total
    return loss / batch
