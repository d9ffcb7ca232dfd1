// Self-attention within each sentence, one head per workgroup: scores stay on the chip (Milakov and
// Gimelshein 2018, "Online normalizer calculation for softmax").
//
// qkv [rows, inputs]: queries, keys and values side by side, inputs = 3 * outputs; out
// [rows, outputs], or with FIRST [sentences, outputs] of the first row of each sentence. D is the
// width of a head.
// A workgroup of 64 takes QUERIES rows, LANES = 64 / QUERIES invocations each, through the keys of
// their sentences, KEYS at a time. Rows of a workgroup may belong to several sentences: each query
// passes over the keys of others, which change no bit of its sums.
// Memory of a workgroup: 4 * (QUERIES * D + KEYS * (D + 1) + QUERIES * KEYS + 64) + 8 bytes.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read> qkv: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

const LANES = 64u / QUERIES;
// Columns of an invocation.
const COLUMNS = (D + LANES - 1u) / LANES;
const PITCH = D + 1u;
const LOWEST = -3.4e38;

var<workgroup> queries: array<f32, QUERIES * D>;
var<workgroup> block: array<f32, KEYS * PITCH>;
var<workgroup> scores: array<f32, QUERIES * KEYS>;
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
fn load(first: u32, end: u32, head: u32, part: u32, lane: u32) {
    for (var at = lane; at < KEYS * D; at += 64u) {
        let row = first + at / D;
        var value = 0.0;
        if row < end {
            value = qkv[row * params.inputs + part * params.outputs + head * D + at % D];
        }
        block[at / D * PITCH + at % D] = value;
    }
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
    let scale = 1.0 / sqrt(f32(D));
    var most = LOWEST;
    var sum = 0.0;
    var sums: array<f32, COLUMNS>;
    for (var i = 0u; i < COLUMNS; i += 1u) {
        sums[i] = 0.0;
    }
    for (var number = numbers.x; number <= numbers.y; number += 1u) {
        let sentence = sentences[number];
        let end = sentence.x + sentence.y;
        for (var first = sentence.x; first < end; first += KEYS) {
            load(first, end, head, 1u, lane);
            workgroupBarrier();
            var most_here = LOWEST;
            for (var j = own; j < KEYS; j += LANES) {
                let key = first + j;
                var score = LOWEST;
                if number == at.y && key < end {
                    var dot = 0.0;
                    for (var c = 0u; c < D; c += 1u) {
                        dot += queries[query * D + c] * block[j * PITCH + c];
                    }
                    score = dot * scale;
                }
                scores[query * KEYS + j] = score;
                most_here = max(most_here, score);
            }
            parts[lane] = most_here;
            workgroupBarrier();
            var most_then = most;
            for (var l = 0u; l < LANES; l += 1u) {
                most_then = max(most_then, parts[query * LANES + l]);
            }
            let correction = exponential(most - most_then);
            most = most_then;
            for (var j = own; j < KEYS; j += LANES) {
                let key = first + j;
                let weight = exponential(scores[query * KEYS + j] - most);
                scores[query * KEYS + j] = select(0.0, weight, number == at.y && key < end);
            }
            // Keys are done with: their memory takes the values.
            load(first, end, head, 2u, lane);
            workgroupBarrier();
            sum *= correction;
            for (var i = 0u; i < COLUMNS; i += 1u) {
                sums[i] *= correction;
            }
            for (var j = 0u; j < KEYS; j += 1u) {
                let weight = scores[query * KEYS + j];
                sum += weight;
                for (var i = 0u; i < COLUMNS; i += 1u) {
                    let c = own + i * LANES;
                    if c < D {
                        sums[i] += weight * block[j * PITCH + c];
                    }
                }
            }
            workgroupBarrier();
        }
    }
    let total = select(counts[1], counts[0], FIRST);
    if index < total {
        for (var i = 0u; i < COLUMNS; i += 1u) {
            let c = own + i * LANES;
            if c < D {
                out[index * params.outputs + head * D + c] = sums[i] / sum;
            }
        }
    }
}
