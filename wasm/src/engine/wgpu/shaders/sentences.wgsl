// For kernels that need the sentence of a row.

// For each sentence still in the batch: its first row, its number of rows, its place in the
// original batch, and its first row before the last exit.
@group(0) @binding(2) var<storage, read> sentences: array<vec4<u32>>;

// Number of the sentence of a row, among `count` sentences, by bisection.
fn number_of(row: u32, count: u32) -> u32 {
    var low = 0u;
    var high = count;
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if sentences[middle].x <= row {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

fn sentence_of(row: u32, count: u32) -> vec4<u32> {
    return sentences[number_of(row, count)];
}
