//! Matrix products by the `gemm` crate (which candle uses too), into existing memory.

/// A matrix, row major: `rows × columns`, or its transpose.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> Matrix<'a> {
    /// Creates a matrix with rows of `columns` values.
    ///
    /// # Panics
    /// If the values do not fill the last row.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        assert_eq!(values.len() % columns, 0, "values do not fill rows of {columns}");
        Matrix { values, rows: values.len() / columns, columns, transposed: false }
    }

    /// Transpose of the matrix.
    pub fn t(self) -> Self {
        Matrix { transposed: !self.transposed, ..self }
    }

    /// Numbers of rows and columns, after transposition.
    fn shape(&self) -> (usize, usize) {
        if self.transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }

    /// Column stride and row stride, after transposition.
    fn strides(&self) -> (isize, isize) {
        let row = self.columns as isize;
        if self.transposed { (row, 1) } else { (1, row) }
    }
}

/// Computes `out = a · b`.
pub fn product(a: Matrix, b: Matrix) -> Vec<f32> {
    let mut out = vec![0.0; a.shape().0 * b.shape().1];
    multiply(&mut out, a, b, false);
    out
}

/// Computes `out += a · b`.
pub fn add_product(out: &mut [f32], a: Matrix, b: Matrix) {
    multiply(out, a, b, true);
}

fn multiply(out: &mut [f32], a: Matrix, b: Matrix, add: bool) {
    let ((m, k), (k_b, n)) = (a.shape(), b.shape());
    assert_eq!(k, k_b, "inner sizes of a matrix product");
    assert_eq!(out.len(), m * n, "size of a matrix product");
    let threads = rayon::current_num_threads();
    let parallelism =
        if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
    let ((a_cs, a_rs), (b_cs, b_rs)) = (a.strides(), b.strides());
    // SAFETY: the shapes were checked against each other and `out`, and by `Matrix::new` against
    // their values; the strides address exactly these values.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.values.as_ptr(),
            a_cs,
            a_rs,
            b.values.as_ptr(),
            b_cs,
            b_rs,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Computes `x · weightᵀ + bias`: `x` is `[rows, inputs]`, `weight` `[outputs, inputs]`.
pub fn linear(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let inputs = weight.len() / bias.len();
    let mut out = Vec::with_capacity(x.len() / inputs * bias.len());
    for _ in 0..x.len() / inputs {
        out.extend_from_slice(bias);
    }
    add_product(&mut out, Matrix::new(x, inputs), Matrix::new(weight, inputs).t());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes_and_sums() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        // [2, 3] · [3, 2]
        let square = product(Matrix::new(&a, 3), Matrix::new(&a, 3).t());
        assert_eq!(square, [14.0, 32.0, 32.0, 77.0]);
        let mut sum = vec![1.0; 9];
        add_product(&mut sum, Matrix::new(&a, 3).t(), Matrix::new(&a, 3));
        assert_eq!(sum, [18.0, 23.0, 28.0, 23.0, 30.0, 37.0, 28.0, 37.0, 46.0]);
        assert_eq!(
            linear(&a, &[1.0, 1.0, 1.0, 0.0, 0.0, 1.0], &[10.0, 20.0]),
            [16.0, 23.0, 25.0, 26.0]
        );
    }
}
