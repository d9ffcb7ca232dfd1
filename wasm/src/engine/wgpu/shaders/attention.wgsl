// Self-attention within each sentence: a workgroup computes one head of some queries. Scores stay
// on the chip at any length. A first pass over the keys finds the largest score. A second pass
// computes the scores again and sums the values. So the order of the sums is that of the CPU's
// kernel; a running maximum (Milakov and Gimelshein 2018) would change it.
//
// qkv [rows, inputs]: queries, keys and values side by side, inputs = 3 * outputs. out
// [rows, outputs], or with FIRST [sentences, outputs] of the first row of each sentence. D is the
// width of a head, `number` is 1 / sqrt(D).
// A workgroup of 64 takes QUERIES rows, LANES = 64 / QUERIES invocations each, through the keys of
// their sentences, KEYS at a time. Rows of a workgroup may belong to several sentences: a query
// skips the keys of other sentences. Columns are in fours, padded with zeros.
// Memory of a workgroup, with C the padded columns and s bytes of a Read:
// s * (QUERIES * C + KEYS * (C + 4)) + 4 * (QUERIES * KEYS + 64) + 8 bytes.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read> qkv: array<Read>;
@group(0) @binding(4) var<storage, read_write> out: array<Written>;

const LANES = 64u / QUERIES;
const FOURS = (D + 3u) / 4u;
// Number of fours of columns per invocation.
const OWN = (FOURS + LANES - 1u) / LANES;
// One more than the columns, so that rows do not share memory banks.
const PITCH = FOURS + 1u;
const LOWEST = -3.4e38;

var<workgroup> queries: array<vec4<Read>, QUERIES * FOURS>;
var<workgroup> block: array<vec4<Read>, KEYS * PITCH>;
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

// Four columns of a head: of the queries (part 0), the keys (part 1) or the values (part 2).
fn four(row: u32, part: u32, head: u32, number: u32) -> vec4<Read> {
    let at = row * params.inputs + part * params.outputs + head * D + number * 4u;
    var columns = vec4<Read>(0.0);
    for (var c = 0u; c < min(4u, D - number * 4u); c += 1u) {
        columns[c] = qkv[at + c];
    }
    return columns;
}

// Loads keys or values from a row on.
fn load(first: u32, count: u32, head: u32, part: u32, lane: u32) {
    for (var at = lane; at < count * FOURS; at += 64u) {
        block[at / FOURS * PITCH + at % FOURS] = four(first + at / FOURS, part, head, at % FOURS);
    }
}

// The score of a query for a key of the block.
fn score(query: u32, key: u32) -> f32 {
    var dot = 0.0;
    for (var i = 0u; i < FOURS; i += 1u) {
        dot = sum_of_products(dot, queries[query * FOURS + i], block[key * PITCH + i]);
    }
    return times(dot, params.number);
}

fn scaled(x: vec4<f32>, by: f32) -> vec4<f32> {
    return vec4<f32>(times(x.x, by), times(x.y, by), times(x.z, by), times(x.w, by));
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
    for (var i = own; i < FOURS; i += LANES) {
        queries[query * FOURS + i] = four(at.x, 0u, head, i);
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
    var sums: array<vec4<f32>, OWN>;
    for (var i = 0u; i < OWN; i += 1u) {
        sums[i] = vec4<f32>(0.0);
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
            // The keys are no longer needed: their memory takes the values.
            load(sentence.x + first, keys, head, 2u, lane);
            workgroupBarrier();
            if number == at.y {
                for (var key = 0u; key < keys; key += 1u) {
                    let weight = weights[query * KEYS + key];
                    sum += weight;
                    for (var i = 0u; i < OWN; i += 1u) {
                        let values = block[key * PITCH + min(own + i * LANES, FOURS - 1u)];
                        sums[i] += scaled(vec4<f32>(values), weight);
                    }
                }
            }
            workgroupBarrier();
        }
    }
    let factor = rounded(divided(1.0, sum));
    if index < select(counts[1], counts[0], FIRST) {
        for (var i = 0u; i < OWN; i += 1u) {
            let first = 4u * (own + i * LANES);
            for (var c = first; c < min(first + 4u, D); c += 1u) {
                out[index * params.outputs + head * D + c] = Written(sums[i][c % 4u] * factor);
            }
        }
    }
}
