//! What is wrong with a file or with an argument, said so that it can be put right.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    file: Option<PathBuf>,
    line: Option<usize>,
    text: String,
}

impl Problem {
    /// Something wrong in a file, at `line` (from 1) if it stands at one.
    pub fn in_file(file: &Path, line: Option<usize>, text: impl Into<String>) -> Self {
        Self { file: Some(file.to_owned()), line, text: text.into() }
    }

    /// Something wrong with what was asked for on the command line.
    pub fn in_arguments(text: impl Into<String>) -> Self {
        Self { file: None, line: None, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, _) => {}
        }
        f.write_str(&self.text)
    }
}

/// Everything that is wrong, one line each. Where an error has this as its cause, no attempt at running
/// helps: the configuration or the command line has to change, and the program exits with 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes one more.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// True if nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `value`, if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The same in the order of their lines, those without one first.
    pub(super) fn sorted(mut self) -> Self {
        self.0.sort_by_key(|problem| problem.line);
        self
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
