//! Reader of a stage's weights.

use super::reader::{Reader, ValueKind, int_attribute};
use crate::Error;
use crate::graph::nibbles::multiply_codes;
use crate::graph::{Elements, Matrix, Packing};
use crate::onnx::{NodeProto, TensorProto, data_type};

#[derive(Clone, Copy)]
pub(super) enum Scales {
    PerRow,
    PerColumn,
}

impl Reader<'_> {
    pub(super) fn tensor(
        &self,
        node: &NodeProto,
        input: usize,
        data_type: i32,
        rank: usize,
    ) -> Result<(&TensorProto, Vec<usize>), Error> {
        let name = &node.input[input];
        let wrong =
            |problem: String| Error::graph(self.graph, &node.name, format!("`{name}` {problem}"));
        let tensor =
            self.weights.get(name).ok_or_else(|| wrong("is not a weight of the file".into()))?;
        // Engines copy weights: calls that share a large weight would take memory without limit.
        if !self.taken.borrow_mut().insert(name.clone()) {
            return Err(wrong("is used a second time; each weight is for one input".into()));
        }
        if tensor.data_type != data_type {
            return Err(wrong(format!(
                "has the ONNX element type {}; expected {data_type}",
                tensor.data_type
            )));
        }
        let dims: Vec<usize> =
            tensor.dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
        if dims.len() != rank || dims.contains(&0) {
            return Err(wrong(format!(
                "has the shape {:?}; expected {rank} dimensions of 1 or more",
                tensor.dims
            )));
        }
        let size = if data_type == data_type::FLOAT { 4 } else { 1 };
        let bytes = dims.iter().try_fold(size, |n: usize, d| n.checked_mul(*d));
        if bytes != Some(tensor.raw_data.len()) {
            return Err(wrong(format!(
                "has the shape {dims:?} and {} bytes of data",
                tensor.raw_data.len()
            )));
        }
        Ok((tensor, dims))
    }

    pub(super) fn floats(
        &self,
        node: &NodeProto,
        input: usize,
        length: usize,
    ) -> Result<Vec<f32>, Error> {
        let (tensor, dims) = self.tensor(node, input, data_type::FLOAT, 1)?;
        if dims[0] != length {
            let problem = format!("`{}` has {} values, not {length}", tensor.name, dims[0]);
            return Err(Error::graph(self.graph, &node.name, problem));
        }
        self.finite(node, tensor)
    }

    fn finite(&self, node: &NodeProto, tensor: &TensorProto) -> Result<Vec<f32>, Error> {
        let values = le_floats(&tensor.raw_data);
        match values.iter().position(|v| !v.is_finite()) {
            None => Ok(values),
            Some(i) => {
                let problem =
                    format!("`{}` has {} at {i}; expected finite numbers", tensor.name, values[i]);
                Err(Error::graph(self.graph, &node.name, problem))
            }
        }
    }

    pub(super) fn matrix(
        &self,
        node: &NodeProto,
        input: usize,
        scales: Option<(usize, Scales)>,
    ) -> Result<Matrix, Error> {
        let kind = if scales.is_some() { data_type::INT8 } else { data_type::FLOAT };
        let (tensor, dims) = self.tensor(node, input, kind, 2)?;
        let (rows, columns) = (dims[0], dims[1]);
        let elements = match scales {
            None => Elements::F32(self.finite(node, tensor)?),
            Some((scales, per)) => {
                let length = match per {
                    Scales::PerRow => rows,
                    Scales::PerColumn => columns,
                };
                Elements::I8 {
                    values: tensor.raw_data.clone(),
                    scales: self.floats(node, scales, length)?,
                }
            }
        };
        Ok(Matrix { rows, columns, elements })
    }

    /// Reads a table with two elements per byte and, from the next input, its scales.
    pub(super) fn halves(&self, node: &NodeProto, input: usize) -> Result<Matrix, Error> {
        let (tensor, bytes) = self.tensor(node, input, data_type::UINT8, 2)?;
        let (scales, groups) = self.tensor(node, input + 1, data_type::FLOAT, 2)?;
        let (rows, columns) = (bytes[0], 2 * bytes[1]);
        let even = groups[1].is_multiple_of(2) && columns.is_multiple_of(groups[1]);
        if groups[0] != rows || !even {
            let problem = format!(
                "`{}` has the shape {groups:?}; expected {rows} rows of an even number that \
                 divides {columns}",
                scales.name
            );
            return Err(Error::graph(self.graph, &node.name, problem));
        }
        let elements =
            Elements::I4 { values: tensor.raw_data.clone(), scales: self.finite(node, scales)? };
        Ok(Matrix { rows, columns, elements })
    }

    /// Reads a weight matrix with two codes per byte, as signed bytes. The next two inputs are the
    /// multipliers and the scales.
    pub(super) fn multiplied(&self, node: &NodeProto, input: usize) -> Result<Matrix, Error> {
        let (codes, halves) = self.tensor(node, input, data_type::UINT8, 2)?;
        let (multipliers, groups) = self.tensor(node, input + 1, data_type::UINT8, 2)?;
        let columns = halves[1];
        let wrong = |problem| Error::graph(self.graph, &node.name, problem);
        if groups[1] != columns || !halves[0].is_multiple_of(groups[0]) {
            return Err(wrong(format!(
                "`{}` has the shape {groups:?}; expected a number of rows that divides {} and \
                 {columns} columns",
                multipliers.name, halves[0]
            )));
        }
        let values = multiply_codes(&codes.raw_data, &multipliers.raw_data, groups[0], columns)
            .ok_or_else(|| {
                wrong(format!(
                    "`{}` or `{}` has a nibble of 0; expected 1 to 15",
                    codes.name, multipliers.name
                ))
            })?;
        let scales = self.floats(node, input + 2, columns)?;
        let elements = Elements::I8 { values: values.into(), scales };
        Ok(Matrix { rows: 2 * halves[0], columns, elements })
    }

    /// Reads a weight matrix that is packed for an instruction set and, from the next input, its
    /// scales.
    pub(super) fn packed(&self, node: &NodeProto, input: usize) -> Result<Matrix, Error> {
        let wrong = |problem| Error::graph(self.graph, &node.name, problem);
        let zero_point = int_attribute(node, "zero_point");
        let zero_point =
            zero_point.and_then(|z| u8::try_from(z).ok()).filter(|z| matches!(z, 0 | 64 | 128));
        let zero_point = zero_point
            .ok_or_else(|| wrong("its attribute `zero_point` is not 0, 64 or 128".to_owned()))?;
        let kind = if zero_point == 0 { data_type::INT8 } else { data_type::UINT8 };
        let (tensor, shape) = self.tensor(node, input, kind, 6)?;
        let (_, given) = self.value(node, 0)?;
        let (ValueKind::Rows(rows) | ValueKind::Sentences(rows)) = given else {
            return Err(wrong(format!("its input is {given}; expected rows of numbers")));
        };
        let scales = self.scales(node, input + 1)?;
        let columns = scales.len();
        let packing = Packing::of_shape(&shape, zero_point)
            .filter(|packing| packing.shape(rows, columns)[..] == shape[..]);
        let packing = packing.ok_or_else(|| {
            wrong(format!(
                "`{}` has the shape {shape:?}; expected an order of packed weights for {rows} \
                 inputs and {columns} outputs",
                tensor.name
            ))
        })?;
        let values = tensor.raw_data.clone();
        // The kernels rely on the range: products of wider weights would overflow.
        if zero_point == 64 && values.iter().fold(0, |all, v| all | v) > 127 {
            let problem = format!(
                "`{}` has bytes over 127; expected 0 to 127 for zero point 64",
                tensor.name
            );
            return Err(wrong(problem));
        }
        Ok(Matrix { rows, columns, elements: Elements::Packed { values, packing, scales } })
    }

    /// Reads a vector of any length.
    fn scales(&self, node: &NodeProto, input: usize) -> Result<Vec<f32>, Error> {
        let (tensor, _) = self.tensor(node, input, data_type::FLOAT, 1)?;
        self.finite(node, tensor)
    }
}

fn le_floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
