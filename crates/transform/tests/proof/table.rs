//! Figures for people, and what is wrong with them.

use crate::oracle::Distance;

/// Rows in columns, and the complaints; printed even where a test passes (`--no-capture`).
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Vec<String>>,
    complaints: Vec<String>,
}

impl Report {
    /// A report whose rows have these columns.
    pub(crate) fn of(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(ToString::to_string).collect()], complaints: Vec::new() }
    }

    /// With the columns of a comparison behind the first ones.
    pub(crate) fn of_distances(columns: &[&str]) -> Self {
        let figures = ["PSNR dB", "mean dE", "99% dE", "sample", "alpha", ""];
        Self::of(&[columns, &figures].concat())
    }

    /// One row, and what is wrong with it.
    pub(crate) fn row(&mut self, cells: &[&str], complaint: Option<String>) {
        let mut row: Vec<_> = cells.iter().map(ToString::to_string).collect();
        if let Some(complaint) = complaint {
            self.complaints.push(format!("{}: {complaint}", cells.join(" ")));
            row.push(complaint);
        }
        self.rows.push(row);
    }

    /// One comparison, and what is wrong with it.
    pub(crate) fn distance(&mut self, cells: &[&str], distance: &Distance, complaint: Option<String>) {
        let figures = [
            format!("{:.1}", distance.psnr),
            format!("{:.2}", distance.delta_e),
            format!("{:.2}", distance.delta_e_99),
            distance.sample.to_string(),
            distance.alpha.to_string(),
        ];
        let cells: Vec<_> = cells.iter().copied().chain(figures.iter().map(String::as_str)).collect();
        self.row(&cells, complaint);
    }

    /// Prints it; fails where something is wrong.
    pub(crate) fn judge(self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<_> =
            (0..columns).map(|at| self.rows.iter().filter_map(|row| row.get(at)).map(String::len).max()).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<0$}", width.unwrap_or_default()));
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        assert!(self.complaints.is_empty(), "{} complaints:\n{}", self.complaints.len(), self.complaints.join("\n"));
    }
}
