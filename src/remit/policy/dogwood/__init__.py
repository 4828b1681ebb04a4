"""Dogwood: Cedar policies that ask what happened before (dogwood-policy/dogwood, guide, chapter 08)."""
