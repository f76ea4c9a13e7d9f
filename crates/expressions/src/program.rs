//! Expressions, compiled once and evaluated often.

use std::sync::Arc;

use crate::{
    budget::{Budget, EXPRESSION_LIMIT, EvaluationError},
    check::{self, Declared},
    cost::{self, Bounds},
    evaluate::{self, Variables},
    syntax::{self, CompileError, Node},
    types::{ObjectType, Type},
    value::Value,
};

const EXHAUSTED: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// What expressions may refer to.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    declared: Declared,
}

/// An expression that was checked.
#[derive(Debug)]
pub struct Program {
    root: Node,
    result: Type,
}

impl Environment {
    /// Functions alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variable. Its name may have dots.
    #[must_use]
    pub fn with(mut self, name: &str, type_: Type) -> Self {
        self.declared.variables.insert(name.to_owned(), type_);
        self
    }

    /// With a variable that has fields.
    #[must_use]
    pub fn with_fields(
        self,
        name: &str,
        type_name: &str,
        fields: impl IntoIterator<Item = (String, Type)>,
    ) -> Self {
        let fields = fields.into_iter().collect();
        let type_ = ObjectType { name: type_name.to_owned(), fields };
        self.with(name, Type::Object(Arc::new(type_)))
    }

    /// With a type of objects that expressions may make, and those whose names begin with it and a dot: `Object{…}`,
    /// `Object.spec{…}`.
    #[must_use]
    pub fn with_struct(mut self, name: &'static str) -> Self {
        self.declared.structs.push(name);
        self
    }

    /// With `cel.bind(name, value, expression)`.
    #[must_use]
    pub fn with_bindings(mut self) -> Self {
        self.declared.binds = true;
        self
    }

    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// What is wrong with it, each fault with its place.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let mut root = syntax::parse(source, self.declared.binds)?;
        let result = check::check(source, &mut root, &self.declared)?;
        Ok(Program { root, result })
    }

    /// Compiles an expression of which a value of one of these types has to come. What is not known before is none of them.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or what else comes of it, in Kubernetes' words.
    pub fn compile_as(&self, source: &str, wanted: &[Type]) -> Result<Program, CompileError> {
        let compiled = self.compile(source);
        let program = compiled.map_err(|why| CompileError(format!("compilation failed: {why}")))?;
        let result = &program.result;
        if wanted.iter().any(|wanted| result.is_exactly(wanted)) {
            return Ok(program);
        }
        Err(CompileError(match wanted {
            [wanted] => format!("must evaluate to {wanted} but got {result}"),
            _ => {
                let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
                format!("must evaluate to one of [{}] but got {result}", wanted.join(" "))
            }
        }))
    }
}

impl Program {
    /// The type of what comes of it, as far as that is known.
    #[must_use]
    pub fn result(&self) -> &Type {
        &self.result
    }

    /// What an evaluation costs at most, by how large the variables' values may be, as Kubernetes estimates it: what is within
    /// values that the expression makes is taken to be of the bounds `unnamed`, where there are any.
    #[must_use]
    pub fn estimate(&self, variables: &Bounds, unnamed: Option<&Bounds>) -> u64 {
        cost::estimate(&self.root, variables, unnamed)
    }

    /// Evaluates it. It ends, whatever it is, for what the budget has.
    ///
    /// # Errors
    ///
    /// Why there is no value.
    pub fn evaluate(
        &self,
        variables: &dyn Variables,
        budget: &mut Budget,
    ) -> Result<Value, EvaluationError> {
        evaluate::evaluate(&self.root, variables, budget)
    }

    /// Evaluates it, out of what all expressions about something may cost together; itself it may cost
    /// [`EXPRESSION_LIMIT`].
    ///
    /// # Errors
    ///
    /// Why there is no value.
    pub fn evaluate_out_of(
        &self,
        variables: &dyn Variables,
        total: &mut Budget,
    ) -> Result<Value, EvaluationError> {
        let mut portion = total.portion(EXPRESSION_LIMIT);
        let answer = self.evaluate(variables, &mut portion);
        total.settle(EXPRESSION_LIMIT, &portion);
        match answer {
            Err(EvaluationError::Cost) if total.left() == 0 => Err(EvaluationError::new(EXHAUSTED)),
            answer => answer,
        }
    }
}
