"""ACL policies: HCL1, rules, templates and the decision."""
