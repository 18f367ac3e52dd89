// Before anything is painted, so that a page in the dark does not begin with a flash of light.
document.documentElement.dataset.theme = localStorage.getItem("farthing.theme") ?? "";
