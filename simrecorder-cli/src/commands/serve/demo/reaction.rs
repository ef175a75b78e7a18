//! Two substances that react and diffuse: the Gray-Scott model on a torus.

use simrecorder::ndarray::Array2;

use super::noise::Noise;

pub(super) const SIDE: usize = 64;

const DIFFUSION: [f64; 2] = [0.16, 0.08];
const FEED: f64 = 0.035;
const KILL: f64 = 0.06;
/// The number of model steps in one step.
const STEPS: usize = 10;

#[derive(Debug)]
pub(super) struct Reaction {
    fed: Array2<f64>,
    made: Array2<f64>,
}

impl Reaction {
    /// One substance everywhere, the other in some places.
    pub(super) fn new() -> Self {
        let mut noise = Noise::new();
        let mut made = Array2::zeros((SIDE, SIDE));
        for _ in 0..6 {
            let mut place = || (noise.uniform() * (SIDE - 6) as f64) as usize;
            let (row, column) = (place(), place());
            made.slice_mut(simrecorder::ndarray::s![row..row + 6, column..column + 6])
                .fill(0.5);
        }
        Self {
            fed: Array2::ones((SIDE, SIDE)),
            made,
        }
    }

    pub(super) fn step(&mut self) {
        for _ in 0..STEPS {
            let flows = [spread(&self.fed), spread(&self.made)];
            for ((index, fed), made) in self.fed.indexed_iter_mut().zip(&mut self.made) {
                let reacted = *fed * *made * *made;
                *fed += DIFFUSION[0] * flows[0][index] - reacted + FEED * (1.0 - *fed);
                *made += DIFFUSION[1] * flows[1][index] + reacted - (FEED + KILL) * *made;
            }
        }
    }

    pub(super) fn concentration(&self) -> Array2<f32> {
        self.made.mapv(|x| x as f32)
    }

    pub(super) fn mass(&self) -> f64 {
        self.made.sum()
    }
}

/// The flow into each place from its four neighbours.
fn spread(field: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn((SIDE, SIDE), |(row, column)| {
        let (up, down) = ((row + SIDE - 1) % SIDE, (row + 1) % SIDE);
        let (left, right) = ((column + SIDE - 1) % SIDE, (column + 1) % SIDE);
        let beside =
            field[(up, column)] + field[(down, column)] + field[(row, left)] + field[(row, right)];
        beside - 4.0 * field[(row, column)]
    })
}
