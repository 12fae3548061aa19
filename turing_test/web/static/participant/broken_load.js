// A style, a script or the page itself may break off on a bad line, and then nothing would ever happen, or images would
// lie anywhere: the page is loaded again, a few times, and then says what is missing. Runs before the modules do, and stands
// before the styles; while something is missing, no session goes on (main.js).
(function () {
  var WAIT = 2000; // ms
  var TRIES = 3;
  var STILL = 15; // seconds
  var isBroken = false;
  var tries = (history.state && history.state.tries) || 0; // survives a reload, also where nothing may be stored

  function again(missing) {
    if (isBroken) return;
    isBroken = true;
    document.documentElement.dataset.broken = "";
    if (tries < TRIES) {
      history.replaceState({ tries: tries + 1 }, "");
      setTimeout(function () { location.reload(); }, WAIT);
    } else if (document.readyState === "loading") {
      addEventListener("DOMContentLoaded", function () { tell(missing); });
    } else tell(missing);
  }

  function tell(missing) {
    var place = document.getElementById("broken-load");
    var study = document.getElementById("study");
    if (!place || !study) return;
    study.parentNode.insertBefore(place, study);
    study.parentNode.removeChild(study); // nothing of it is shown without its style
    place.querySelector("[dir]").textContent = missing;
    place.hidden = false;
  }

  addEventListener(
    "error",
    function (event) {
      var failed = event.target;
      var isNeeded = failed instanceof HTMLScriptElement || (failed instanceof HTMLLinkElement && failed.rel === "stylesheet");
      if (isNeeded) again(failed.src || failed.href);
    },
    true, // errors of loading do not bubble
  );
  // Of a page that broke off, Chromium awaits the rest for ever and runs no module, so nothing is shown that could be
  // disturbed; other browsers take it for whole. A slow page is not given up after the last try: it may still come.
  var had = 0;
  var still = 0; // looks, not time: a machine that slept has not waited
  var watch = setInterval(function () {
    if (document.readyState !== "loading") return clearInterval(watch);
    var has = document.getElementsByTagName("*").length + performance.getEntriesByType("resource").length;
    still = has === had ? still + 1 : 0;
    had = has;
    if (still >= STILL && tries < TRIES) again(location.host);
  }, 1000);
  document.addEventListener("readystatechange", function () {
    // before the modules run; the mark is the page's last element
    if (document.readyState === "interactive" && !document.querySelector('[data-part="mark"]')) again(location.host);
  });
  addEventListener("load", function () {
    if (!isBroken && tries) history.replaceState(null, "");
  });
})();
