"""What the audit and dependence between studies cost the conclusion of an analysis."""
