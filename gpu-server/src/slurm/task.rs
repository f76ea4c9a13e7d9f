//! One attempt at one task of a job.

/// Slurm's jobs are told from one another by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task<'a> {
    /// The namespace of the GpuJob.
    pub namespace: &'a str,
    /// The GpuJob's name.
    pub name: &'a str,
    /// The GpuJob's uid.
    pub uid: &'a str,
    /// The task's number among the completions.
    pub index: i32,
    /// How many attempts at it have failed before.
    pub attempt: i32,
}

/// A job of Slurm, as it was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Slurm's number. On another cluster, or on one that counts anew, it is somebody else's.
    pub id: String,
    /// The name, which no other job has.
    pub name: String,
    /// The directory that it was submitted from.
    pub directory: String,
}

/// Slurm's database keeps 255 bytes of a job's name; what makes it unique is at its end.
const NAME_LIMIT: usize = 180;

impl Task<'_> {
    /// The name of its job in Slurm: no other job has it.
    #[must_use]
    pub fn job_name(&self) -> String {
        let Task { namespace, name, uid, index, attempt } = self;
        let readable: String = format!("{namespace}.{name}").chars().take(NAME_LIMIT).collect();
        format!("{readable}-{index}-{attempt}-{uid}")
    }

    /// Its job, of this number and from this directory.
    #[must_use]
    pub fn submitted(&self, id: String, directory: String) -> Submitted {
        Submitted { id, name: self.job_name(), directory }
    }

    /// The comment of its job in Slurm, for who looks there.
    #[must_use]
    pub fn comment(&self) -> String {
        format!("minik8s:{}/{}/{}", self.uid, self.index, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_even_where_what_is_readable_of_them_does_not() {
        let name = "x".repeat(253);
        let task = |index, attempt| {
            let uid = "0b8f3a52-6c1e-4f5d-9a53-1d1f3c0a7e11";
            Task { namespace: "default", name: &name, uid, index, attempt }.job_name()
        };
        assert!(task(99_999, 99).len() <= 255);
        assert_ne!(task(1, 0), task(0, 1));
    }
}
