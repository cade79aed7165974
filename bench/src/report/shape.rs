//! What a section is made of: columns of its table, and charts.

pub struct Section {
    pub mode: &'static str,
    pub title: &'static str,
    /// How it is measured.
    pub text: &'static str,
    pub columns: &'static [Column],
    /// Whether a second table shows what the servers and the machine did meanwhile.
    pub bounds: bool,
    pub charts: &'static [Chart],
}

pub struct Column {
    pub title: &'static str,
    pub value: &'static str,
    pub decimals: usize,
    /// Whether the lowest and the highest are shown.
    pub spread: bool,
    /// The subject whose median counts as 100 %.
    pub of: Option<&'static str>,
}

pub enum Chart {
    Bars(Bars),
    Lines(Lines),
}

/// One bar for each subject in each case.
pub struct Bars {
    pub file: &'static str,
    pub title: &'static str,
    pub value: &'static str,
    pub decimals: usize,
}

/// What was seen over the time of a long run.
pub struct Lines {
    pub file: &'static str,
    pub title: &'static str,
    pub series: &'static str,
    pub unit: &'static str,
}

impl Chart {
    pub fn file(&self) -> &'static str {
        match self {
            Self::Bars(bars) => bars.file,
            Self::Lines(lines) => lines.file,
        }
    }

    pub fn title(&self) -> &'static str {
        match self {
            Self::Bars(bars) => bars.title,
            Self::Lines(lines) => lines.title,
        }
    }
}

pub const fn column(title: &'static str, value: &'static str, decimals: usize) -> Column {
    Column {
        title,
        value,
        decimals,
        spread: true,
        of: None,
    }
}

/// The median alone.
pub const fn plain(title: &'static str, value: &'static str, decimals: usize) -> Column {
    Column {
        spread: false,
        ..column(title, value, decimals)
    }
}

pub const fn share(title: &'static str, value: &'static str, of: &'static str) -> Column {
    Column {
        of: Some(of),
        ..column(title, value, 0)
    }
}

pub const fn bars(
    file: &'static str,
    title: &'static str,
    value: &'static str,
    decimals: usize,
) -> Chart {
    Chart::Bars(Bars {
        file,
        title,
        value,
        decimals,
    })
}

pub const fn lines(
    file: &'static str,
    title: &'static str,
    series: &'static str,
    unit: &'static str,
) -> Chart {
    Chart::Lines(Lines {
        file,
        title,
        series,
        unit,
    })
}
