// Embeddings: the word's row and the position's, each times its scale, summed and normalized.
//
// words [vocabulary, outputs], positions [positions, outputs]; int8 (four to a word, INT8 true) or
// f32 as bits. Writes out [rows, outputs].
// One workgroup of 64 per row. No limit but the bindings'. Memory of a workgroup: 256 bytes.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read> words: array<u32>;
@group(0) @binding(5) var<storage, read> positions: array<u32>;
// gamma, beta and, if INT8, the scale of each word and of each position.
@group(0) @binding(6) var<storage, read> numbers: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;

fn byte(word: u32, at: u32) -> f32 {
    return f32(extractBits(bitcast<i32>(word), (at % 4u) * 8u, 8u));
}

fn value(id: u32, position: u32, column: u32) -> f32 {
    let w = id * params.outputs + column;
    let p = position * params.outputs + column;
    if INT8 {
        // `a` is the number of words.
        let scales = 2u * params.outputs;
        return byte(words[w / 4u], w) * numbers[scales + id]
            + byte(positions[p / 4u], p) * numbers[scales + params.a + position];
    }
    return bitcast<f32>(words[w]) + bitcast<f32>(positions[p]);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    count(lane);
    let row = group.x;
    let width = params.outputs;
    let id = ids[row];
    let position = row - sentence_of(row, counts[0]).x;
    var sum = 0.0;
    for (var c = lane; c < width; c += 64u) {
        sum += value(id, position, c);
    }
    let mean = sum_of_all(sum, lane) / f32(width);
    var squares = 0.0;
    for (var c = lane; c < width; c += 64u) {
        let d = value(id, position, c) - mean;
        squares += d * d;
    }
    let variance = sum_of_all(squares, lane) / f32(width);
    let scale = 1.0 / sqrt(variance + params.epsilon);
    for (var c = lane; c < width; c += 64u) {
        let d = value(id, position, c) - mean;
        out[row * width + c] = d * scale * numbers[c] + numbers[width + c];
    }
}
