// Runs only where modules do not: tells so in the page's language.
document.addEventListener("DOMContentLoaded", function () {
  document.getElementById("old-browser").hidden = false;
});
