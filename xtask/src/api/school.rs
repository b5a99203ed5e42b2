//! The school: courses, students, and who is enrolled in what.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SUBJECTS: [&str; 8] =
    ["Algebra", "Astronomy", "Botany", "Chemistry", "Geometry", "History", "Music", "Rhetoric"];
const NAMES: [&str; 8] = ["Ada", "Blaise", "Carl", "Emmy", "Grace", "Kurt", "Mary", "Sofia"];

const COURSES: u32 = 240;
const STUDENTS: u32 = 1_000;

/// A course that is offered.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Course {
    pub(super) id: u32,
    pub(super) title: String,
    pub(super) credits: u32,
}

/// Somebody who studies.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Student {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) email: String,
}

/// What is needed to take a student in.
#[derive(Debug, Deserialize)]
pub(super) struct NewStudent {
    pub(super) name: String,
    pub(super) email: String,
}

/// A student's place in a course.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Enrolment {
    pub(super) student_id: u32,
    pub(super) course_id: u32,
}

/// All there is, shared by the requests.
pub(super) struct School(Mutex<Records>);

/// What the school knows.
pub(super) struct Records {
    pub(super) courses: Vec<Course>,
    pub(super) students: Vec<Student>,
    enrolments: BTreeSet<Enrolment>,
}

impl School {
    /// A school in its first week: the same at every start.
    pub(super) fn founded() -> Self {
        let course = |id: u32| {
            let title = format!("{} {}", pick(&SUBJECTS, id), 100 + id);
            Course { id, title, credits: 1 + id % 6 }
        };
        let student = |id: u32| {
            let name = pick(&NAMES, id);
            let email = format!("{}.{id}@school.example", name.to_lowercase());
            Student { id, name: name.into(), email }
        };
        Self(Mutex::new(Records {
            courses: (1..=COURSES).map(course).collect(),
            students: (1..=STUDENTS).map(student).collect(),
            enrolments: BTreeSet::new(),
        }))
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    pub(super) fn admit(&mut self, new: NewStudent) -> Student {
        let id = self.students.last().map_or(1, |last| last.id + 1);
        let student = Student { id, name: new.name, email: new.email };
        self.students.push(student.clone());
        student
    }

    /// Enrols a student; false where the student or the course does not exist, or has been paired before.
    pub(super) fn enrol(&mut self, enrolment: Enrolment) -> bool {
        let known = self.course(enrolment.course_id).is_some()
            && self.students.iter().any(|student| student.id == enrolment.student_id);
        known && self.enrolments.insert(enrolment)
    }

    pub(super) fn course(&self, id: u32) -> Option<&Course> {
        self.courses.iter().find(|course| course.id == id)
    }

    pub(super) fn enrolled_in(&self, course_id: u32) -> usize {
        self.enrolments.iter().filter(|enrolment| enrolment.course_id == course_id).count()
    }
}

fn pick<'a>(from: &[&'a str], index: u32) -> &'a str {
    let index = usize::try_from(index).unwrap_or_default();
    from.iter().cycle().nth(index % from.len().max(1)).copied().unwrap_or_default()
}
