//! Elastic tab stops as Go's `text/tabwriter` makes them, which is what kubectl's columns are: a column is
//! a run of lines that have a cell there, and is as wide as its widest cell plus the padding.

/// Lays out text whose cells end in tabs. The last cell of a line belongs to no column.
#[must_use]
pub fn align(text: &str, min_width: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut aligned = vec![String::new(); lines.len()];
    let layout = Layout { lines: &lines, min_width, padding };
    layout.columns(&mut aligned, 0, 0, lines.len());
    for (line, cells) in aligned.iter_mut().zip(&lines) {
        line.push_str(cells.last().copied().unwrap_or_default());
    }
    aligned.iter().map(|line| format!("{line}\n")).collect()
}

struct Layout<'a> {
    lines: &'a [Vec<&'a str>],
    min_width: usize,
    padding: usize,
}

impl Layout<'_> {
    /// Lays out the columns from `column` on, of the lines `from..to`.
    fn columns(&self, aligned: &mut [String], column: usize, from: usize, to: usize) {
        let mut line = from;
        while line < to {
            if !self.has(line, column) {
                line += 1;
                continue;
            }
            let end = (line..to).find(|l| !self.has(*l, column)).unwrap_or(to);
            self.block(aligned, column, line, end);
            self.columns(aligned, column + 1, line, end);
            line = end;
        }
    }

    fn block(&self, aligned: &mut [String], column: usize, from: usize, to: usize) {
        let widest = (from..to).map(|l| width(self.lines[l][column])).max().unwrap_or(0);
        let full = self.min_width.max(widest + self.padding);
        for (line, cells) in aligned.iter_mut().zip(self.lines).take(to).skip(from) {
            line.push_str(cells[column]);
            line.extend(std::iter::repeat_n(' ', full - width(cells[column])));
        }
    }

    fn has(&self, line: usize, column: usize) -> bool {
        column + 1 < self.lines[line].len()
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_ends_with_the_lines_that_have_it() {
        let text = "Name:\tx\nLong name:\ty\nTitle:\n  a:\t1\n  bb:\t2\n";
        assert_eq!(align(text, 0, 2), "Name:       x\nLong name:  y\nTitle:\n  a:   1\n  bb:  2\n");
    }

    #[test]
    fn a_table_has_three_spaces_and_a_least_width() {
        assert_eq!(
            align("A\tSTATUS\tAGE\nx\tRunning\t5m\n", 6, 3),
            "A     STATUS    AGE\nx     Running   5m\n"
        );
    }
}
