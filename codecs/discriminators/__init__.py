"""Discriminators: real or decoded?"""
