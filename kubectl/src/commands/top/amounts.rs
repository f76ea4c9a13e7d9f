//! What is used, and how it is written.

use std::ops::Add;

use api_machinery::Quantity;
use serde_json::Value;

use crate::object;

/// CPU and memory.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands) struct Amounts {
    pub(super) cpu: Quantity,
    pub(super) memory: Quantity,
}

impl Amounts {
    /// Those of a list of resources.
    pub(super) fn of(resources: &Value) -> Self {
        let amount = |resource| {
            let text = object::text(resources, resource);
            text.parse().unwrap_or(Quantity::from_units(0))
        };
        Self { cpu: amount("/cpu"), memory: amount("/memory") }
    }

    /// Those of a node, or of a pod's containers together.
    pub(in crate::commands) fn of_metrics(metrics: &Value) -> Self {
        let containers = object::list(metrics, "/containers").iter();
        let sum = |sum, container: &Value| sum + Self::of(&container["usage"]);
        containers.fold(Self::of(&metrics["usage"]), sum)
    }

    /// `250m`, `64Mi`.
    pub(in crate::commands) fn texts(self) -> [String; 2] {
        const MEBIBYTE: i64 = 1 << 20;
        [format!("{}m", self.cpu.milli_value()), format!("{}Mi", self.memory.value() / MEBIBYTE)]
    }
}

impl Default for Amounts {
    fn default() -> Self {
        Self { cpu: Quantity::from_units(0), memory: Quantity::from_units(0) }
    }
}

impl Add for Amounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }
}

/// Lines as Go's tabwriter lays them out when each cell, the last one too, ends with a tab.
pub(super) fn layout(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count() + 3).fold(6, usize::max)
    };
    let line = |line: &Vec<String>| {
        let padded = line.iter().enumerate().map(|(at, cell)| format!("{cell:0$}", width(at)));
        padded.collect::<String>() + "\n"
    };
    lines.iter().map(line).collect()
}
