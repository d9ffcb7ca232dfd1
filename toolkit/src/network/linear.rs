//! Linear layers and layer norms: the fast form of the CPU, and the choice between it and the composed one.

use super::Mode;
use super::attach::attach;
use super::composed;
use super::kernels::matmul::{Matrix, linear, product};
use super::kernels::{column_sums, norm};
use super::layers::{Linear, Norm};
use super::parameter::Values;
use super::quantized::{self, QuantizedRows, Seen, rows_seen};
use candle_core::{DType, Result, Tensor};
use edge_runtime::graph;

impl Linear {
    /// Computes `x · weightᵀ + bias`, `[rows, inputs]` to `[rows, outputs]`.
    ///
    /// # Errors
    /// candle's.
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        if !mode.fused || mode.precision != DType::F32 {
            return composed::linear(x, self, mode);
        }
        let rows = x.dim(0)?;
        let out = self.apply(&Values::of(x)?, mode)?;
        let (this, input, mode) = (self.clone(), x.detach(), *mode);
        attach("linear", x, out, (rows, self.outputs()), move |gradient| {
            let inputs = input.dim(1)?;
            let d_x = this.backward(&Values::of(&input)?, &Values::of(gradient)?, &mode)?;
            Tensor::from_vec(d_x, (rows, inputs), input.device()).map(Some)
        })
    }

    /// Adds the gradients of the parameters and returns that of `x`.
    pub(super) fn backward(&self, x: &[f32], gradient: &[f32], mode: &Mode) -> Result<Vec<f32>> {
        let (outputs, inputs) = self.weight.var().dims2()?;
        self.parameters_backward(&rows_seen(x, inputs, mode), gradient)?;
        let weight = self.weight_seen(mode)?;
        Ok(product(Matrix::new(gradient, outputs), Matrix::new(&weight, inputs)))
    }

    /// Weight of the forward pass: stored or rounded.
    pub(super) fn weight_seen(&self, mode: &Mode) -> Result<Seen<'_>> {
        let inputs = self.weight.var().dim(1)?;
        let weight = self.weight.read()?;
        Ok(match mode.quantized {
            None => Seen::Stored(weight),
            Some(int8) => Seen::Rounded(
                QuantizedRows::of_weights(&weight, inputs, int8.linear(self.site)).values(),
            ),
        })
    }

    pub(super) fn parameters_backward(&self, x: &[f32], gradient: &[f32]) -> Result<()> {
        let (outputs, inputs) = self.weight.var().dims2()?;
        let d_weight = product(Matrix::new(gradient, outputs).t(), Matrix::new(x, inputs));
        self.weight.add_gradient(d_weight)?;
        self.bias.add_gradient(column_sums(gradient, outputs))
    }

    pub(super) fn apply(&self, x: &[f32], mode: &Mode) -> Result<Vec<f32>> {
        let (weight, bias) = (self.weight.read()?, self.bias.read()?);
        Ok(match mode.quantized {
            None => linear(x, &weight, &bias),
            Some(int8) => quantized::linear(x, &weight, &bias, int8.linear(self.site)),
        })
    }
}

impl Norm {
    /// Adds the gradients of the parameters and returns that of the sum before the norm.
    pub(super) fn backward(&self, gradient: Vec<f32>, saved: &norm::Saved) -> Result<Vec<f32>> {
        let gradients = norm::backward(gradient, saved, &self.gamma.read()?);
        self.gamma.add_gradient(gradients.gamma)?;
        self.beta.add_gradient(gradients.beta)?;
        Ok(gradients.x)
    }

    /// Computes `norm(residual + dropout(x))`, and the values that the backward pass needs.
    pub(super) fn forward(
        &self,
        x: Vec<f32>,
        residual: &[f32],
        mode: &Mode,
        site: u64,
    ) -> Result<(Vec<f32>, norm::Saved)> {
        let (gamma, beta) = (self.gamma.read()?, self.beta.read()?);
        let dropout = mode.dropout(site);
        let runtimes = (mode.quantized.is_some() && dropout.is_none()).then(|| {
            let (gamma, beta) = (gamma.to_vec(), beta.to_vec());
            let norm = graph::Norm { gamma, beta, epsilon: self.epsilon };
            quantized::add_norm(&x, residual, &norm)
        });
        let (out, saved) =
            norm::forward(x, residual, dropout.as_ref(), (&gamma, &beta, self.epsilon));
        Ok((runtimes.unwrap_or(out), saved))
    }
}
