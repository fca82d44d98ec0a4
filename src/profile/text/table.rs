//! Tables as spreadsheets save them: CSV with a comma, a semicolon or a tab between the columns, quoted fields, and line
//! ends of any kind. Each row comes with the line of the file in which it begins.

use csv::StringRecord;

/// Gives each row that is not empty to `each`, with its line. An error says what is wrong, and goes on behind the name of
/// the file.
pub fn rows(
    text: &str,
    mut each: impl FnMut(usize, &StringRecord) -> Result<(), String>,
) -> Result<(), String> {
    // Some programs end lines with a carriage return alone.
    let old = !text.contains('\n') && text.contains('\r');
    let text = if old { &text.replace('\r', "\n") } else { text };
    let (separator, skipped, text) = separator(text)?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: skipped + 1 };
    while reader.read_record(&mut record).map_err(|error| format!("is no CSV: {error}"))? {
        let line = lines.of(record.position().map_or(0, csv::Position::byte) as usize);
        if record.iter().all(|value| value.trim().is_empty()) {
            continue; // such as a last line of nothing but separators
        }
        each(line, &record)?;
    }
    Ok(())
}

/// The names that a first row gives to the columns; a separator at its end names none.
pub fn names(row: &StringRecord) -> Vec<&str> {
    let mut names: Vec<_> = row.iter().map(str::trim).collect();
    while names.last().is_some_and(|last| last.is_empty()) {
        names.pop();
    }
    names
}

/// Says it where a row has fewer values than there are columns, or values beyond the last.
pub fn fits(row: &StringRecord, columns: usize) -> Result<(), String> {
    let beyond = row.iter().skip(columns).any(|value| !value.trim().is_empty());
    if row.len() < columns || beyond {
        return Err(format!("has {} columns, and the first line names {columns}", row.len()));
    }
    Ok(())
}

/// Counts lines up to where a row begins. Empty ones before it are not its own.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, begin: usize) -> usize {
        let rest = self.text.get(begin..).unwrap_or_default();
        let begin = begin + rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        let passed = self.text.get(self.at..begin).unwrap_or_default();
        self.line += passed.split(|byte| *byte == b'\n').skip(1).count();
        self.at = begin;
        self.line
    }
}

/// What stands between columns, how many lines come before the first one, and the text without them.
fn separator(text: &str) -> Result<(u8, usize, &str), String> {
    let first = text.lines().next().unwrap_or_default();
    // Spreadsheets may say it in a line of its own.
    if let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', mark @ (b',' | b';' | b'\t')] = first.as_bytes() {
        let rest = text.get(first.len()..).unwrap_or_default();
        let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
        return Ok((*mark, 1, rest));
    }
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in first.bytes() {
        quoted ^= byte == b'"';
        counts.iter_mut().filter(|(mark, _)| !quoted && *mark == byte).for_each(|(_, count)| *count += 1);
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let [(mark, most), (other, next), _] = counts;
    if next > 0 && most == next {
        let (mark, other) = (char::from(mark), char::from(other));
        return Err(format!(
            "has both {mark:?} and {other:?} between its columns in line 1; use one of them"
        ));
    }
    Ok((mark, 0, text))
}
