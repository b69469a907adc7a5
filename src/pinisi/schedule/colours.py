"""Holds the colours and names under which kinds of passes are shown, whatever draws them."""

from pinisi.schedule.table import Kind

# Pairs that belong together share a hue: F and the backward passes blue to green, S and T orange, E and G
# purple.
COLOURS = {
    Kind.E: "#c9b3e6",
    Kind.F: "#8fb8f0",
    Kind.S: "#f5c26b",
    Kind.T: "#e88f4f",
    Kind.B: "#7fd0b8",
    Kind.W: "#b5dd8c",
    Kind.BW: "#6fc08f",
    Kind.G: "#9678c8",
}
NAMES = {
    Kind.E: "embedding",
    Kind.F: "forward",
    Kind.S: "head S",
    Kind.T: "head T",
    Kind.B: "input gradient",
    Kind.W: "weight gradient",
    Kind.BW: "backward",
    Kind.G: "embedding gradient",
}
