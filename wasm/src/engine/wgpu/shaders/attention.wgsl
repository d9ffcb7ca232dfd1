// Self-attention within each sentence, a head of some queries for a workgroup: scores stay on the chip
// whatever the length. A first pass over the keys finds the largest score, a second one computes the
// scores again and sums up; so the order of the sums is that of the CPU's kernel, which a running
// largest score (Milakov and Gimelshein 2018) would change.
//
// qkv [rows, inputs]: queries, keys and values side by side, inputs = 3 * outputs; out
// [rows, outputs], or with FIRST [sentences, outputs] of the first row of each sentence. D is the
// width of a head, `number` is 1 / sqrt(D).
// A workgroup of 64 takes QUERIES rows, LANES = 64 / QUERIES invocations each, through the keys of
// their sentences, KEYS at a time. Rows of a workgroup may belong to several sentences: a query takes
// no part while keys of another one are there.
// Memory of a workgroup: 4 * (QUERIES * D + KEYS * (D + 1) + QUERIES * KEYS + 64) + 8 bytes.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read> qkv: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

const LANES = 64u / QUERIES;
// Columns of an invocation.
const COLUMNS = (D + LANES - 1u) / LANES;
// One more than the columns, so that rows do not share memory banks.
const PITCH = D + 1u;
const LOWEST = -3.4e38;

var<workgroup> queries: array<f32, QUERIES * D>;
var<workgroup> block: array<f32, KEYS * PITCH>;
var<workgroup> weights: array<f32, QUERIES * KEYS>;
var<workgroup> parts: array<f32, 64>;
var<workgroup> span: vec2<u32>;

// Row and number of the sentence of a query.
fn query_at(index: u32) -> vec2<u32> {
    if FIRST {
        let number = min(index, counts[0] - 1u);
        return vec2<u32>(sentences[number].x, number);
    }
    let row = min(index, counts[1] - 1u);
    return vec2<u32>(row, number_of(row, counts[0]));
}

// Keys (part 1) or values (part 2) from a row on.
fn load(first: u32, count: u32, head: u32, part: u32, lane: u32) {
    for (var at = lane; at < count * D; at += 64u) {
        let column = part * params.outputs + head * D + at % D;
        block[at / D * PITCH + at % D] = qkv[(first + at / D) * params.inputs + column];
    }
}

// The score of a query for a key of the block.
fn score(query: u32, key: u32) -> f32 {
    var dot = 0.0;
    for (var c = 0u; c < D; c += 1u) {
        dot += times(queries[query * D + c], block[key * PITCH + c]);
    }
    return times(dot, params.number);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    count(lane);
    let head = group.y;
    let query = lane / LANES;
    let own = lane % LANES;
    let index = group.x * QUERIES + query;
    let at = query_at(index);
    if lane == 0u {
        span = vec2<u32>(at.y, query_at(group.x * QUERIES + QUERIES - 1u).y);
    }
    for (var c = own; c < D; c += LANES) {
        queries[query * D + c] = qkv[at.x * params.inputs + head * D + c];
    }
    let numbers = workgroupUniformLoad(&span);

    var most = LOWEST;
    for (var number = numbers.x; number <= numbers.y; number += 1u) {
        let sentence = sentences[number];
        for (var first = 0u; first < sentence.y; first += KEYS) {
            let keys = min(KEYS, sentence.y - first);
            load(sentence.x + first, keys, head, 1u, lane);
            workgroupBarrier();
            if number == at.y {
                for (var key = own; key < keys; key += LANES) {
                    most = max(most, score(query, key));
                }
            }
            workgroupBarrier();
        }
    }
    parts[lane] = most;
    workgroupBarrier();
    for (var l = 0u; l < LANES; l += 1u) {
        most = max(most, parts[query * LANES + l]);
    }

    var sum = 0.0;
    var sums: array<f32, COLUMNS>;
    for (var i = 0u; i < COLUMNS; i += 1u) {
        sums[i] = 0.0;
    }
    for (var number = numbers.x; number <= numbers.y; number += 1u) {
        let sentence = sentences[number];
        for (var first = 0u; first < sentence.y; first += KEYS) {
            let keys = min(KEYS, sentence.y - first);
            load(sentence.x + first, keys, head, 1u, lane);
            workgroupBarrier();
            if number == at.y {
                for (var key = own; key < keys; key += LANES) {
                    weights[query * KEYS + key] = exponential(score(query, key) - most);
                }
            }
            workgroupBarrier();
            // Keys are done with: their memory takes the values.
            load(sentence.x + first, keys, head, 2u, lane);
            workgroupBarrier();
            if number == at.y {
                for (var key = 0u; key < keys; key += 1u) {
                    let weight = weights[query * KEYS + key];
                    sum += weight;
                    for (var i = 0u; i < COLUMNS; i += 1u) {
                        let c = min(own + i * LANES, D - 1u);
                        sums[i] += times(weight, block[key * PITCH + c]);
                    }
                }
            }
            workgroupBarrier();
        }
    }
    let factor = rounded(divided(1.0, sum));
    if index < select(counts[1], counts[0], FIRST) {
        for (var i = 0u; i < COLUMNS; i += 1u) {
            let c = own + i * LANES;
            if c < D {
                out[index * params.outputs + head * D + c] = sums[i] * factor;
            }
        }
    }
}
