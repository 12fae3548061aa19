"""Making a study: stimuli built, sealed and audited."""
