// Functions of elements in f16.

// A sum and four more products, which are summed in f16.
fn sum_of_products(sum: f32, a: vec4<f16>, b: vec4<f16>) -> f32 {
    return sum + f32(dot(a, b));
}
